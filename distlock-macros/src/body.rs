//! The body as an async block that owns its arguments.

use proc_macro2::{Ident, TokenStream};
use syn::{Type, ext::IdentExt, visit_mut::VisitMut};

use crate::{
    bindings::{Binding, bound_names, conditions, make_immutable, mentions},
    function::{Function, Shape, inferred},
    hygiene::own,
};

/// Returns the inside of an async block that owns the arguments which it mentions, so that they are dropped
/// before the lock is released. Removes their `mut` in the signature.
pub(crate) fn body(private: &TokenStream, function: &mut Function, moved: &[Binding]) -> TokenStream {
    if let Shape::Locked(_) = function.shape {
        // The attribute that is written above has done this.
        return function.body.clone();
    }
    // Each argument is moved whole. If the block captured only the field that the body mentions, the other
    // fields would be dropped after the release.
    // A new variable makes the future larger by the argument, compared with a mention such as that of `self`
    // below. But rustc's messages about mistakes in the body then are those of a function without a lock: it
    // does not name a variable that a block has captured.
    let lets: TokenStream = moved
        .iter()
        .map(|Binding { ident, mutable, conditions }| {
            own! {
                #(#conditions)*
                #[allow(clippy::used_underscore_binding, clippy::no_effect_underscore_binding)]
                let #mutable #ident = #ident;
            }
        })
        .collect();
    // Mentioning `self` moves it into the block whole, as the statements above do with the arguments.
    let receiver = function.signature.receiver().filter(|_| is_moved(function, "self"));
    let receiver = receiver.map(|receiver| {
        let (this, conditions) = (&receiver.self_token, conditions(&receiver.attrs));
        own!(#(#conditions)* let _ = &#this;)
    });
    let (fake, tokens) = (fake(private, function), &function.body);
    let body = own!(#fake #receiver #lets #tokens);
    let names: Vec<Ident> = moved.iter().map(|binding| binding.ident.clone()).collect();
    make_immutable(&mut function.signature, &mut function.patterns, &names);
    body
}

/// The arguments that are moved into the body.
pub(crate) fn moved(function: &Function) -> Vec<Binding> {
    let mut names = bound_names(&function.signature, &function.patterns);
    names.retain(|binding| is_moved(function, &binding.ident.unraw().to_string()));
    names
}

/// Whether an argument or `self` is moved into the body.
///
/// An argument that the body does not mention is not mentioned here either, so that rustc reports it as
/// unused. `self` and `_x` are moved nevertheless, but not into a future that a plain function returns: its
/// type may say that it does not borrow them.
pub(crate) fn is_moved(function: &Function, name: &str) -> bool {
    let is_implicit = matches!(function.shape, Shape::Async) && (name == "self" || name.starts_with('_'));
    is_implicit || mentions(&function.body, name)
}

/// Returns a statement that gives an async block the type of the function's value, as a function's signature
/// does, so that `?` and coercions in the block work.
pub(crate) fn fake(private: &TokenStream, function: &Function) -> Option<TokenStream> {
    let output = function.output.as_ref().and_then(named)?;
    Some(own! {
        if false {
            return #private::fake::<#output>();
        }
    })
}

/// Returns the type as it can be written in the body, with `_` for each `impl Trait`. `None` if only `_`
/// would be left, or if the type is `!`.
pub(crate) fn named(output: &Type) -> Option<Type> {
    struct Erase;
    impl VisitMut for Erase {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if matches!(ty, Type::ImplTrait(_)) {
                *ty = inferred();
            }
            syn::visit_mut::visit_type_mut(self, ty);
        }
    }
    if matches!(output, Type::ImplTrait(_) | Type::Never(_)) {
        return None;
    }
    let mut output = output.clone();
    Erase.visit_type_mut(&mut output);
    Some(output)
}
