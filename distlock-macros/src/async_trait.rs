//! What `#[async_trait]` does with arguments that are patterns.
//!
//! ```text
//! // Input:
//! async fn handle(&self, Path(id): Path<u64>) -> u64 { id }
//!
//! // Output, shortened:
//! fn handle(&self, __arg1: Path<u64>) -> Pin<Box<..>> {
//!     Box::pin(async move {
//!         let Path(id) = { let __arg1 = __arg1; __arg1 };
//!         id
//!     })
//! }
//! ```
//!
//! The key may name `id`, so the expansion takes the arguments apart before it renders the key.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::{Local, Stmt};

/// Takes the statements that take arguments apart out of a body. Returns them, and the rest of the body.
pub(crate) fn take_patterns(body: TokenStream) -> (Vec<Local>, TokenStream) {
    let mut patterns = Vec::new();
    let mut rest: Vec<TokenTree> = Vec::new();
    for token in body {
        let is_end = matches!(&token, TokenTree::Punct(semicolon) if semicolon.as_char() == ';');
        rest.push(token);
        if is_end && let Some(pattern) = take_pattern(&mut rest) {
            patterns.push(pattern);
        }
    }
    (patterns, rest.into_iter().collect())
}

/// Returns the statements that take arguments apart, in any block of the tokens.
pub(crate) fn all_patterns(tokens: &TokenStream) -> Vec<Local> {
    let (mut patterns, rest) = take_patterns(tokens.clone());
    for token in rest {
        if let TokenTree::Group(group) = token {
            patterns.extend(all_patterns(&group.stream()));
        }
    }
    patterns
}

/// Removes the last statement if it takes an argument apart.
fn take_pattern(tokens: &mut Vec<TokenTree>) -> Option<Local> {
    let [.., TokenTree::Punct(equals), TokenTree::Group(value), _] = tokens.as_slice() else { return None };
    if equals.as_char() != '=' || !is_argument(value) {
        return None;
    }
    let mut start = tokens.iter().rposition(|token| is_word(token, "let"))?;
    // The attributes before the statement.
    while let [.., TokenTree::Punct(hash), TokenTree::Group(_)] = &tokens[..start]
        && hash.as_char() == '#'
    {
        start -= 2;
    }
    match syn::parse2(tokens[start..].iter().cloned().collect()) {
        Ok(Stmt::Local(local)) => {
            tokens.truncate(start);
            Some(local)
        }
        _ => None,
    }
}

/// Whether the block is `{ let __arg1 = __arg1; __arg1 }`, with any number.
fn is_argument(block: &Group) -> bool {
    let tokens: Vec<TokenTree> = block.stream().into_iter().collect();
    let [first, TokenTree::Ident(name), _, TokenTree::Ident(value), _, TokenTree::Ident(result)] =
        &tokens[..]
    else {
        return false;
    };
    block.delimiter() == Delimiter::Brace
        && is_word(first, "let")
        && name.to_string().starts_with("__arg")
        && name == value
        && name == result
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

#[cfg(test)]
mod tests {
    use quote::{ToTokens, quote};

    use super::*;

    #[test]
    fn only_the_statements_that_take_arguments_apart_are_taken() {
        let (patterns, rest) = take_patterns(quote! {
            if let Some(__ret) = None::<u8> { return __ret; }
            #[cfg(all())]
            let Path((id, _)) = { let __arg0 = __arg0; __arg0 };
            let x = x;
            let __arg2 = __arg2;
            let (a, mut b) = { let __arg3 = __arg3; __arg3 };
            let c = { let y = y; y };
            a + b
        });
        let patterns: Vec<_> = patterns.iter().map(|local| local.pat.to_token_stream().to_string()).collect();
        assert_eq!(patterns, ["Path ((id , _))", "(a , mut b)"]);
        let expected = quote! {
            if let Some(__ret) = None::<u8> { return __ret; }
            let x = x;
            let __arg2 = __arg2;
            let c = { let y = y; y };
            a + b
        };
        assert_eq!(rest.to_string(), expected.to_string());
    }
}
