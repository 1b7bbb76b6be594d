//! The paths in a stream of tokens: in code and in macros alike, not in comments and strings.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path as it is written: `crate::store::{Key as K}` is `crate`, `store`, `Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPath {
    /// Without generic arguments. A glob's last segment is `*`.
    pub segments: Vec<String>,
    /// The name after `as`.
    pub rename: Option<String>,
    /// The line of the first segment, from 1.
    pub line: usize,
}

/// Finds the paths of the tokens, also inside of groups. Paths that begin with `::`, and those of
/// visibilities, are left out.
#[must_use]
pub fn paths(tokens: TokenStream) -> Vec<WrittenPath> {
    let mut found = Vec::new();
    scan(tokens, &mut found);
    found
}

fn scan(tokens: TokenStream, found: &mut Vec<WrittenPath>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "pub" && is_visibility(tokens.get(at + 1)) => at += 2,
            TokenTree::Ident(_) => at = path(&tokens, at, &[], found),
            // The end of a path that does not begin with a name: `::core::..`, `<T as Trait>::..`.
            TokenTree::Punct(_) if is_colons(&tokens, at) => {
                at += 2;
                if matches!(tokens.get(at), Some(TokenTree::Ident(_))) {
                    at = path(&tokens, at, &[], &mut Vec::new());
                }
            }
            // A lifetime's name, or that of a field or method.
            TokenTree::Punct(sign) if matches!(sign.as_char(), '\'' | '.') => {
                let named = matches!(tokens.get(at + 1), Some(TokenTree::Ident(_)));
                at += 1 + usize::from(named);
            }
            TokenTree::Group(group) => {
                scan(group.stream(), found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Whether the token after `pub` is `(crate)`, `(super)` or `(in a::path)`.
fn is_visibility(token: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(group)) = token else { return false };
    let words: Vec<_> = group.stream().into_iter().map(|token| token.to_string()).collect();
    group.delimiter() == Delimiter::Parenthesis
        && (words.first().is_some_and(|word| word == "in")
            || matches!(&*words, [word] if matches!(&**word, "crate" | "super" | "self")))
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon =
        |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(sign)) if sign.as_char() == ':');
    is_colon(at) && is_colon(at + 1)
}

/// Takes one path, or one tree of a `use`, and answers where the tokens go on.
fn path(tokens: &[TokenTree], mut at: usize, prefix: &[String], found: &mut Vec<WrittenPath>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[at].span().start().line;
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(word)) => segments.push(word.to_string()),
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => segments.push("*".to_owned()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                tree(group.stream(), &segments, found);
                return at + 1;
            }
            // Generic arguments: what follows them belongs to the path's last segment.
            _ => break,
        }
        at += 1;
        if !is_colons(tokens, at) {
            break;
        }
        at += 2;
    }
    let rename = match (tokens.get(at), tokens.get(at + 1)) {
        (Some(TokenTree::Ident(as_)), Some(TokenTree::Ident(name))) if as_ == "as" => Some(name.to_string()),
        _ => None,
    };
    found.push(WrittenPath { segments, rename, line });
    at
}

/// The comma-separated paths of a `use`'s braces.
fn tree(tokens: TokenStream, prefix: &[String], found: &mut Vec<WrittenPath>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for branch in tokens.split(|token| matches!(token, TokenTree::Punct(comma) if comma.as_char() == ',')) {
        if !branch.is_empty() {
            path(branch, 0, prefix, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        let paths = paths(source.parse().expect("tokens"));
        let long = paths.into_iter().filter(|path| path.segments.len() > 1);
        long.map(|path| {
            let rename = path.rename.map(|name| format!(" as {name}")).unwrap_or_default();
            path.segments.join("::") + &rename
        })
        .collect()
    }

    #[test]
    fn the_groups_of_a_use_are_taken_apart() {
        let source = "use crate::{a::{self, B as C}, d::*, e};";
        assert_eq!(found(source), ["crate::a::self", "crate::a::B as C", "crate::d::*", "crate::e"]);
    }

    #[test]
    fn paths_stand_anywhere_in_code_and_in_macros() {
        let source =
            "fn f<T: super::T>(x: Vec<crate::x::Y>) -> u8 { m!(crate::m::N(self::o::P)); a::<B>::c() }";
        assert_eq!(found(source), ["super::T", "crate::x::Y", "crate::m::N", "self::o::P"]);
        assert_eq!(found("macro_rules! m { () => { $crate::a::b!() } }"), ["crate::a::b"]);
    }

    #[test]
    fn comments_strings_visibilities_and_other_crates_are_no_uses() {
        assert_eq!(
            found("/// [`crate::a::B`]\npub(in crate::a) fn f() { /* crate::b */ let s = \"crate::c\"; }"),
            [""; 0]
        );
        assert_eq!(found("fn f() { ::core::mem::drop(<T as U>::v::w()) }"), [""; 0]);
        assert_eq!(found("struct S(pub (crate::a::B, u8));"), ["crate::a::B"]);
    }
}
