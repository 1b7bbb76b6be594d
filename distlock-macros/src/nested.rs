//! Two attributes on one function.
//!
//! The attribute that is written first is expanded first, and its lock must be the outer one. So the one that
//! is expanded later puts its lock into the code of the earlier one, directly around the body:
//!
//! ```text
//! // Input, after the first attribute was expanded:
//! #[distributed_lock(key = "inner")]
//! async fn f() {
//!     acquire "outer"; LockAroundBody::run(&guard, async move { body }).await; release "outer"
//! }
//!
//! // Output, shortened:
//! async fn f() {
//!     acquire "outer";
//!     LockAroundBody::run(&guard, async move {
//!         acquire "inner"; LockAroundBody::run(&guard, async move { body }).await; release "inner"
//!     })
//!     .await;
//!     release "outer"
//! }
//! ```
//!
//! The name `LockAroundBody` is the mark by which the body is found. It does not matter what other attributes
//! have put around the code in the meantime, or by which name this attribute is called.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::quote_spanned;
use syn::ext::IdentExt;

use crate::hygiene::own;

/// The name of `LockGuard` in `distlock::__private` that nothing but the expansion uses.
const MARK: &str = "LockAroundBody";

/// Returns the call that runs a body under the lock of the variable `guard`. The async block is at the place
/// `braces` of the body's braces.
pub(crate) fn run(private: &TokenStream, guard: &Ident, body: TokenStream, braces: Span) -> TokenStream {
    let here = Span::mixed_site();
    let mark = Ident::new(MARK, here);
    let mut block = Group::new(Delimiter::Brace, body);
    block.set_span(braces);
    let block = quote_spanned!(braces=> async move #block);
    quote_spanned!(here=> #private::#mark::run(&#guard, #block))
}

/// Returns the statement in the body that binds the name which the user gave to the guard.
pub(crate) fn bind_guard(name: &Ident) -> TokenStream {
    own!(let #name = __lock;)
}

/// Whether the tokens have a lock whose guard has this name.
pub(crate) fn has_guard(tokens: &TokenStream, name: &Ident) -> bool {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let is_bound = (2..tokens.len()).any(|end| match &tokens[end - 2..=end] {
        [TokenTree::Ident(bound), TokenTree::Punct(_), TokenTree::Ident(lock)] => {
            lock == "__lock" && bound.unraw() == name.unraw()
        }
        _ => false,
    });
    is_bound
        || tokens
            .iter()
            .any(|token| matches!(token, TokenTree::Group(group) if has_guard(&group.stream(), name)))
}

/// Returns the body that runs under the innermost lock, in its braces. `None` if the tokens have no lock.
pub(crate) fn body(tokens: TokenStream) -> Option<Group> {
    let mut is_marked = false;
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Group(group) => {
            let is_call = std::mem::take(&mut is_marked);
            body(group.stream())
                .or_else(|| if is_call { argument(&group).map(|(_, block)| block) } else { None })
        }
        token => {
            is_marked |= is_mark(&token);
            None
        }
    })
}

/// Replaces the body that runs under the innermost lock. `None` if the tokens have no lock.
pub(crate) fn map_body(
    tokens: TokenStream,
    replace: &mut impl FnMut(TokenStream) -> TokenStream,
) -> Option<TokenStream> {
    let mut found = false;
    let mut is_marked = false;
    let mapped = tokens
        .into_iter()
        .map(|token| {
            let TokenTree::Group(group) = token else {
                is_marked |= is_mark(&token);
                return token;
            };
            let is_call = std::mem::take(&mut is_marked);
            let inner = map_body(group.stream(), replace).or_else(|| {
                let (before, block) = if is_call { argument(&group)? } else { return None };
                let block = with_stream(&block, replace(block.stream()));
                Some(before.into_iter().chain([block]).collect())
            });
            found |= inner.is_some();
            inner.map_or_else(|| group.clone().into(), |inner| with_stream(&group, inner))
        })
        .collect();
    found.then_some(mapped)
}

fn is_mark(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Ident(name) if name == MARK)
}

/// Returns the block at the end of the arguments of a call, which has the body, and the tokens before it.
fn argument(call: &Group) -> Option<(Vec<TokenTree>, Group)> {
    let mut arguments: Vec<TokenTree> = call.stream().into_iter().collect();
    match arguments.pop()? {
        TokenTree::Group(block)
            if block.delimiter() == Delimiter::Brace && call.delimiter() == Delimiter::Parenthesis =>
        {
            Some((arguments, block))
        }
        _ => None,
    }
}

/// Returns the group with other tokens inside.
fn with_stream(group: &Group, stream: TokenStream) -> TokenTree {
    let mut new = Group::new(group.delimiter(), stream);
    new.set_span(group.span());
    new.into()
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    fn run_guard(private: &TokenStream, body: &TokenStream) -> TokenStream {
        run(private, &Ident::new("guard", Span::call_site()), body.clone(), Span::call_site())
    }

    /// Puts a word around the innermost body.
    fn mapped(tokens: TokenStream) -> Option<String> {
        map_body(tokens, &mut |body| quote!(inner { #body })).map(|tokens| tokens.to_string())
    }

    #[test]
    fn the_innermost_body_is_found_whatever_is_around_it() {
        let call = run_guard(&quote!(p), &quote!(body));
        let changed = run_guard(&quote!(p), &quote!(inner { body }));
        for around in [
            |call: &TokenStream| quote!(#call.await),
            |call: &TokenStream| quote!(Box::pin(async move { span(f, [#call]); finish(guard) })),
            |call: &TokenStream| {
                run_guard(&quote!(q::r), &quote!(let x = #call.await; LockAroundBody::finish(guard)))
            },
        ] {
            assert_eq!(body(around(&call)).unwrap().stream().to_string(), "body");
            assert_eq!(mapped(around(&call)), Some(around(&changed).to_string()));
        }
    }

    #[test]
    fn the_names_of_guards_are_found() {
        let [lock, other] = ["lock", "other"].map(|name| Ident::new(name, Span::call_site()));
        let bind = bind_guard(&lock);
        let tokens = quote!(async move { acquire(); #bind body(other = __other) });
        assert!(has_guard(&tokens, &lock) && !has_guard(&tokens, &other));
    }

    #[test]
    fn a_body_without_a_lock_is_left_alone() {
        for tokens in
            [quote!(run(&guard, async move { body })), quote!(LockAroundBody::finish(guard)), quote!()]
        {
            assert!(body(tokens.clone()).is_none() && mapped(tokens).is_none());
        }
    }
}
