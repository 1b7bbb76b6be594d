//! One way to write a piece of code, whatever its line breaks and trailing commas were.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Writes the tokens in one line. It has no trailing commas, and no `mut` before an argument.
#[must_use]
pub fn normal_form(tokens: TokenStream) -> String {
    let mut lexemes = Vec::new();
    split(tokens, &mut lexemes);
    let mut text = String::new();
    let mut last: Option<&str> = None;
    for (at, lexeme) in lexemes.iter().enumerate() {
        let next = lexemes.get(at + 1).map(String::as_str);
        let is_trailing_comma = lexeme == "," && next.is_none_or(|next| closes(next) || next == "{");
        let is_binding = lexeme == "mut" && matches!(last, Some("(" | ","));
        if is_trailing_comma || is_binding {
            continue;
        }
        if last.is_some_and(|last| is_space_between(last, lexeme)) {
            text.push(' ');
        }
        text.push_str(lexeme);
        last = Some(lexeme);
    }
    text
}

/// Takes the tokens apart into words, signs of one or several characters, and brackets.
fn split(tokens: TokenStream, lexemes: &mut Vec<String>) {
    // Whether the last token was a sign to which the next one belongs.
    let mut is_joined = false;
    for token in tokens {
        let (text, joins_next) = match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                lexemes.extend([open].into_iter().filter(|text| !text.is_empty()).map(str::to_owned));
                split(group.stream(), lexemes);
                lexemes.extend([close].into_iter().filter(|text| !text.is_empty()).map(str::to_owned));
                is_joined = false;
                continue;
            }
            TokenTree::Punct(sign) => (sign.to_string(), sign.spacing() == Spacing::Joint),
            other => (other.to_string(), false),
        };
        match lexemes.last_mut().filter(|last| is_joined && is_one_lexeme(last, &text)) {
            Some(last) => last.push_str(&text),
            None => lexemes.push(text),
        }
        is_joined = joins_next;
    }
}

/// Whether two tokens without a space between them are one: `->`, `'a`. In `>>` and `&'` they are two.
fn is_one_lexeme(first: &str, second: &str) -> bool {
    first == "'" || matches!((first, second), (":", ":") | ("-" | "=", ">") | ("." | "..", ".") | ("..", "="))
}

fn closes(lexeme: &str) -> bool {
    matches!(lexeme, ")" | "]" | "}" | ">")
}

fn is_space_between(first: &str, second: &str) -> bool {
    if matches!(first, "(" | "[" | "<" | "::" | "&" | "!" | "?" | "#")
        || matches!(second, ")" | "]" | ">" | "," | ";" | ":" | "." | "!")
    {
        return false;
    }
    let follows_sign = matches!(first, "->" | "=" | "+" | ":" | "," | ";" | "{" | "=>");
    match second {
        "<" | "(" | "::" => follows_sign || matches!(first, "where" | "as"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_has_one_form_however_it_is_broken_into_lines() {
        for (written, normal) in [
            (
                "pub  fn f<'a,>(mut self, mut a : &'a mut [u8;36],\n) -> Result<Option<&'a str>, E>",
                "pub fn f<'a>(self, a: &'a mut [u8; 36]) -> Result<Option<&'a str>, E>",
            ),
            (
                "fn g<F: Fn(A)->B+?Sized>(&mut self) where for<'a> &'a F: X<Y=Z>,{}",
                "fn g<F: Fn(A) -> B + ?Sized>(&mut self) where for<'a> &'a F: X<Y = Z> { }",
            ),
            ("std :: vec :: Vec < Vec < u8 > >", "std::vec::Vec<Vec<u8>>"),
            ("Granted{fence:Option<u8>,}", "Granted { fence: Option<u8> }"),
            ("fn h() -> (A, <B as C>::D)", "fn h() -> (A, <B as C>::D)"),
            ("feature=\"redis\"", "feature = \"redis\""),
        ] {
            assert_eq!(normal_form(written.parse().unwrap()), normal);
        }
    }
}
