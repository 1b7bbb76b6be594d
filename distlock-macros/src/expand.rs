//! Turns the checked model into tokens. This stage cannot fail.
//!
//! ```text
//! // Input:
//! #[distributed_lock(key = "order:{id}", ttl = 30)]
//! async fn fulfil(id: u64) -> Result<(), Error> { body }
//!
//! // Output, shortened:
//! async fn fulfil(id: u64) -> Result<(), Error> {
//!     let manager = None;
//!     let ttl: Duration = Duration::new(30, 0);
//!     let key = {
//!         let mut key = KeyBuilder::new();
//!         key.text("order:");
//!         key.hole(format_args!("{}", id), None);
//!         key.finish()
//!     };
//!     let acquired = Request::new(manager, key).ttl(ttl).acquire().await;
//!     let guard = match acquired {
//!         Ok(guard) => guard,
//!         Err(error) => return from_lock_error(error),
//!     };
//!     let outcome = guard.run(async move { if false { return fake(); } let id = id; body }).await;
//!     guard.finish().await;
//!     match outcome {
//!         Ok(value) => value,
//!         Err(error) => from_lock_error(error),
//!     }
//! }
//! ```

use proc_macro2::{Delimiter, Ident, Literal, Span, TokenStream, TokenTree};
use quote::quote_spanned;
use syn::{Type, ext::IdentExt, spanned::Spanned, visit_mut::VisitMut};

use crate::{
    bindings::{Binding, bound_names, make_immutable, mentions},
    durations::Length,
    function::{Function, Shape, inferred},
    model::{Key, Model, OnBusy, OnError, Wait},
    template::{Hole, Piece},
};

/// `quote!` with mixed-site hygiene: our local variables and the user's cannot be confused, whatever their
/// names.
macro_rules! own {
    ($($tokens:tt)*) => {
        quote_spanned!(Span::mixed_site()=> $($tokens)*)
    };
}

/// Returns a span at a place in the user's code, for rustc's messages, with the hygiene of `own!`.
fn at(place: Span) -> Span {
    place.resolved_at(Span::mixed_site())
}

/// Moves a path of ours to a place in the user's code. rustc's message points there only if the whole path
/// does.
fn placed(path: &TokenStream, place: Span) -> TokenStream {
    let place = at(place);
    path.clone()
        .into_iter()
        .map(|mut token| {
            token.set_span(place);
            token
        })
        .collect()
}

/// Returns the function with the lock around its body.
pub(crate) fn expand(model: &Model, mut function: Function) -> TokenStream {
    let locked = locked(model, &mut function);
    let Function { attrs, visibility, defaultness, signature, shape, inner_attrs, .. } = function;
    let block = match shape {
        Shape::Async => own!({ #inner_attrs #locked }),
        Shape::Block { before, after, boxed: true } => {
            own!({ #before(async move { #inner_attrs #locked }) #after })
        }
        Shape::Block { after, .. } => own!({ async move { #inner_attrs #locked } #after }),
    };
    own!(#(#attrs)* #visibility #defaultness #signature #block)
}

/// The statements that acquire the lock, run the body, and release the lock.
fn locked(model: &Model, function: &mut Function) -> TokenStream {
    let distlock = &model.distlock;
    let private = own!(#distlock::__private);
    let body = body(&private, function);
    let output_span = function.output_span();

    let manager = if let Some(locks) = &model.locks {
        let private = placed(&private, locks.span());
        quote_spanned!(at(locks.span())=> #private::Option::Some(#private::HasManager::manager(&#locks)))
    } else {
        own!(#private::Option::None)
    };
    let (evaluated, settings) = settings(model);
    let private_at_output = placed(&private, output_span);
    // The expression that turns `error`, a `LockError`, into the function's return value.
    let (handler, error_value) = match &model.on_error {
        None => (
            own!(),
            quote_spanned!(at(output_span)=> #private_at_output::FromLockError::from_lock_error(error)),
        ),
        Some(OnError::Log) => {
            (own!(), quote_spanned!(at(output_span)=> #private_at_output::Skip::logged(error)))
        }
        Some(OnError::Handler(handler)) => {
            (own!(let on_error = #private::handler(#handler);), own!(#private::handle(on_error, error)))
        }
    };
    let not_acquired = match &model.on_busy {
        None => own!(return #error_value),
        Some(on_busy) => {
            let busy = match on_busy {
                OnBusy::Skip => quote_spanned!(at(output_span)=> #private_at_output::Skip::skipped()),
                OnBusy::Handler(handler) => {
                    let private = placed(&private, handler.span());
                    quote_spanned!(at(handler.span())=> #private::handle(#handler, error))
                }
            };
            own! {
                if #private::is_busy(&error) {
                    return #busy;
                }
                return #error_value
            }
        }
    };
    let key = key(&model.key, &private);
    let named_guard = model.guard.as_ref().map(|name| own!(let #name: &#distlock::LockGuard = &guard;));
    own! {
        let manager = #manager;
        #evaluated
        #handler
        let key = #key;
        let acquired = #private::Request::new(manager, key)#settings.acquire().await;
        let guard = match acquired {
            #private::Ok(guard) => guard,
            #private::Err(error) => { #not_acquired; }
        };
        #named_guard
        let outcome = guard.run(#body).await;
        guard.finish().await;
        match outcome {
            #private::Ok(value) => value,
            #private::Err(error) => #error_value,
        }
    }
}

/// Returns the statements that evaluate each setting once, and the calls that pass the settings to the
/// request.
fn settings(model: &Model) -> (TokenStream, TokenStream) {
    let distlock = &model.distlock;
    let mut evaluated = TokenStream::new();
    let mut calls = TokenStream::new();
    let mut set = |name: &str, length: &Length| {
        let (name, value) = (Ident::new(name, Span::mixed_site()), length.tokens());
        evaluated.extend(own!(let #name: ::core::time::Duration = #value;));
        calls.extend(own!(.#name(#name)));
    };
    if let Some(ttl) = &model.ttl {
        set("ttl", ttl);
    }
    if let Some(Wait::For(wait)) = &model.wait {
        set("wait", wait);
    }
    if let Some(max_hold) = &model.max_hold {
        set("max_hold", max_hold);
    }
    if let Some(at_least) = &model.at_least {
        set("at_least", at_least);
    }
    if let Some(renew) = &model.renew {
        calls.extend(own!(.renew(#renew)));
    }
    if let Some(fair) = &model.fair {
        calls.extend(own!(.fair(#fair)));
    }
    if let Some(Wait::Forever) = model.wait {
        calls.extend(own!(.wait_forever()));
    }
    if model.fenced {
        calls.extend(own!(.fenced()));
    }
    if model.finish_when_lost {
        calls.extend(own!(.on_lost(#distlock::OnLost::Finish)));
    }
    if model.release_in_background {
        calls.extend(own!(.release(#distlock::Release::Background)));
    }
    (evaluated, calls)
}

/// The expression that renders the key.
fn key(key: &Key, private: &TokenStream) -> TokenStream {
    match key {
        Key::Computed(expr) => {
            let private = placed(private, expr.span());
            quote_spanned!(at(expr.span())=> #private::key(::core::format_args!("{}", #expr)))
        }
        Key::Template(pieces, span) => {
            let pieces = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => own!(key.text(#text);),
                Piece::Hole(Hole { value, spec, follower }) => {
                    let mut format = Literal::string(&format!("{{{spec}}}"));
                    format.set_span(*span);
                    let follower = if let Some(follower) = follower {
                        own!(#private::Option::Some(#follower))
                    } else {
                        own!(#private::Option::None)
                    };
                    let value = printable(value, *span);
                    quote_spanned!(at(*span)=> key.hole(::core::format_args!(#format, #value), #follower);)
                }
            });
            let pieces: TokenStream = pieces.collect();
            own! {{
                let mut key = #private::KeyBuilder::new();
                #pieces
                key.finish()
            }}
        }
    }
}

/// Borrows a value that is an index, such as `text[..8]`: a format macro refuses a `str`, which has no size.
fn printable(value: &TokenStream, span: Span) -> TokenStream {
    match value.clone().into_iter().last() {
        Some(TokenTree::Group(last)) if last.delimiter() == Delimiter::Bracket => {
            quote_spanned!(at(span)=> &#value)
        }
        _ => value.clone(),
    }
}

/// Returns the body as an async block that owns the arguments it mentions, so that they are dropped before
/// the lock is released. Removes `mut` from these arguments in the signature.
fn body(private: &TokenStream, function: &mut Function) -> TokenStream {
    let body = &function.body;
    // An argument that the body does not mention is not mentioned here either, so that rustc reports it as
    // unused.
    let moved: Vec<Binding> = bound_names(&function.signature)
        .into_iter()
        .filter(|binding| {
            let name = binding.ident.unraw().to_string();
            name.starts_with('_') || mentions(body, &name)
        })
        .collect();
    // Each argument is moved whole. If the block captured only the field that the body mentions, the other
    // fields would be dropped after the release.
    let lets: TokenStream = moved
        .iter()
        .map(|Binding { ident, mutable }| {
            let mutable = mutable.then(|| own!(mut));
            own! {
                #[allow(clippy::used_underscore_binding, clippy::no_effect_underscore_binding)]
                let #mutable #ident = #ident;
            }
        })
        .collect();
    // Mentioning `self` moves it into the block whole, as the statements above do with the arguments.
    let receiver = function.signature.receiver().map(|receiver| {
        let this = &receiver.self_token;
        own!(let _ = &#this;)
    });
    let fake = function.output.as_ref().and_then(named).map(|output| {
        // Gives the block its type, as a function's signature does, so that `?` and coercions in the body
        // work.
        own! {
            if false {
                return #private::fake::<#output>();
            }
        }
    });
    let block = own!(async move { #fake #receiver #lets #body });
    let idents: Vec<Ident> = moved.into_iter().map(|binding| binding.ident).collect();
    make_immutable(&mut function.signature, &idents);
    block
}

/// Returns the type as it can be written in the body, with `_` for each `impl Trait`. `None` if only `_`
/// would be left, or if the type is `!`.
fn named(output: &Type) -> Option<Type> {
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
