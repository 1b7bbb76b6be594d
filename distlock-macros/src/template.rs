//! The key template: text and holes.

use std::str::FromStr;

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use syn::{Error, Expr, Ident, LitStr, Member, Result, ext::IdentExt};

use crate::{args::whole_expr, bindings::Bindings, suggest::meant};

/// A piece of a checked template.
pub(crate) enum Piece {
    Text(String),
    Hole(Hole),
}

/// A value in the key.
pub(crate) struct Hole {
    /// What is printed.
    pub(crate) value: TokenStream,
    /// `:` and what follows it, as in a format string; empty for none.
    pub(crate) spec: String,
    /// The character of the template after the hole, which the value's own occurrences must not be taken for.
    pub(crate) follower: Option<char>,
}

/// Checks a template against the names of the function.
///
/// # Errors
/// One error for each mistake, all at the literal.
pub(crate) fn parse(literal: &LitStr, bindings: &Bindings) -> Result<Vec<Piece>> {
    let span = literal.span();
    let wrong = |what: String| Error::new(span, what);
    let text = literal.value();
    if text.is_empty() {
        return Err(wrong("the key template is empty, so that every call would share one lock; write `key = \"order:{order_id}\"`".into()));
    }
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['{', '}']) {
        push_text(&mut pieces, &rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{") {
            push_text(&mut pieces, "{");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("}}") {
            push_text(&mut pieces, "}");
            rest = after;
        } else if rest.starts_with('}') {
            return Err(wrong(
                "a `}` without its `{` in the key template; write `}}` for a literal brace".into(),
            ));
        } else {
            let close = closing(rest).ok_or_else(|| {
                wrong("a `{` is never closed in the key template; write `{{` for a literal brace".into())
            })?;
            if let Some(Piece::Hole(_)) = pieces.last() {
                return Err(wrong(format!(
                    "two values with nothing between them in the key template, so that 1 and 23 would share a lock with 12 and 3; write a separator: `:{}`",
                    &rest[..=close]
                )));
            }
            pieces.push(Piece::Hole(hole(&rest[1..close], span, bindings)?));
            rest = &rest[close + 1..];
        }
    }
    push_text(&mut pieces, rest);
    // Each hole learns what follows it.
    let mut follower = None;
    for piece in pieces.iter_mut().rev() {
        match piece {
            Piece::Text(text) => follower = text.chars().next(),
            Piece::Hole(hole) => hole.follower = follower.take(),
        }
    }
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// Where the brace that opens the text is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn hole(text: &str, span: Span, bindings: &Bindings) -> Result<Hole> {
    let wrong = |what: String| Error::new(span, what);
    let (value, spec) = text.split_at(spec_start(text).unwrap_or(text.len()));
    let value = value.trim();
    if value.is_empty() {
        return Err(wrong("an empty `{}` in the key template; name the value: `{order_id}`".into()));
    }
    if value.chars().all(|c| c.is_ascii_digit()) {
        return Err(wrong(format!(
            "`{{{value}}}` in the key template is a position; name the value: `{{order_id}}`"
        )));
    }
    if spec.contains(['$', '*', '{', '}']) {
        return Err(wrong(format!(
            "the format `{spec}` in the key template takes a width or precision from elsewhere; write the number"
        )));
    }
    let form = || {
        wrong(format!(
            "`{{{value}}}` in the key template is not a name, a field, an index or a method call; compute it in an expression: `key = format!(..)`"
        ))
    };
    // As in format strings, `{type}` is the argument `r#type`.
    let is_keyword = bindings.contains(value) && value != "self" && syn::parse_str::<Ident>(value).is_err();
    let raw = if is_keyword { "r#" } else { "" };
    let tokens = TokenStream::from_str(&format!("{raw}{value}")).map_err(|_| form())?;
    let tokens = respan(tokens, span, bindings);
    let expr = whole_expr(tokens.clone()).map_err(|_| form())?;
    check_form(&expr, bindings, span).ok_or_else(form)??;
    Ok(Hole { value: tokens, spec: spec.trim_end().to_owned(), follower: None })
}

/// Where the format begins: at a colon that stands alone and outside of brackets.
fn spec_start(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' | b'<' => depth += 1,
            b')' | b']' | b'>' => depth = depth.saturating_sub(1),
            b':' if bytes.get(at + 1) == Some(&b':') => at += 1,
            b':' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// `None` for a form that is not allowed, else whether its name is known.
fn check_form(expr: &Expr, bindings: &Bindings, span: Span) -> Option<Result<()>> {
    match expr {
        Expr::Path(path) if path.attrs.is_empty() => Some(match path.path.get_ident() {
            Some(name) if path.qself.is_none() => check_name(name, bindings, span),
            _ => Ok(()),
        }),
        Expr::Field(field) => match &field.member {
            Member::Named(name) if name == "await" => None,
            _ => check_form(&field.base, bindings, span),
        },
        Expr::Index(index) => check_form(&index.expr, bindings, span),
        Expr::MethodCall(call) => check_form(&call.receiver, bindings, span),
        Expr::Paren(paren) => check_form(&paren.expr, bindings, span),
        _ => None,
    }
}

/// A lower-case name must be an argument; others may be constants of the surroundings, which rustc knows.
fn check_name(name: &Ident, bindings: &Bindings, span: Span) -> Result<()> {
    let text = name.unraw().to_string();
    let is_const = text.starts_with(char::is_uppercase);
    if is_const || bindings.contains(&text) {
        return Ok(());
    }
    if text == "self" {
        return Err(Error::new(span, "`self` in the key template, but the function has no receiver"));
    }
    let names: Vec<&str> = bindings.names().collect();
    let hint = match meant(&text, &names) {
        Some(name) => format!("did you mean `{{{name}}}`?"),
        None if names.is_empty() => "the function has no arguments".to_owned(),
        None => {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("the arguments are {}", names.join(", "))
        }
    };
    Err(Error::new(span, format!("`{{{text}}}` in the key template is no argument of the function; {hint}")))
}

/// The tokens, as if they stood where the literal stands; an argument's name means that argument, also where a macro wrote the one and its
/// caller the other.
fn respan(tokens: TokenStream, span: Span, bindings: &Bindings) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            let mut place = span;
            match &token {
                TokenTree::Group(group) => {
                    token = Group::new(group.delimiter(), respan(group.stream(), span, bindings)).into();
                }
                TokenTree::Ident(name) => {
                    if let Some(bound) = bindings.get(&name.unraw().to_string()) {
                        place = span.resolved_at(bound);
                    }
                }
                _ => {}
            }
            token.set_span(place);
            token
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> std::result::Result<String, String> {
        let bindings = Bindings::of_names(&["order_id", "order", "v", "i", "self"]);
        parse(&LitStr::new(text, Span::call_site()), &bindings)
            .map(|pieces| {
                let show = |piece: &Piece| match piece {
                    Piece::Text(text) => format!("[{text}]"),
                    Piece::Hole(hole) => format!("<{}|{}|{:?}>", hole.value, hole.spec, hole.follower),
                };
                pieces.iter().map(show).collect()
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn text_holes_formats_and_followers() {
        assert_eq!(parsed("nightly").unwrap(), "[nightly]");
        assert_eq!(parsed("order:{order_id}").unwrap(), "[order:]<order_id||None>");
        assert_eq!(parsed("{order_id:>5}:{i:?}!").unwrap(), "<order_id|:>5|Some(':')>[:]<i|:?|Some('!')>[!]");
        assert_eq!(parsed("{{{order_id}}}").unwrap(), "[{]<order_id||Some('}')>[}]");
        assert_eq!(parsed("{order_id}}}{i}").unwrap(), "<order_id||Some('}')>[}]<i||None>");
        assert_eq!(parsed("{order.items[0].sku}").unwrap(), "<order . items [0] . sku||None>");
        assert_eq!(
            parsed("{self.user().id}/{v[i]}").unwrap(),
            "<self . user () . id||Some('/')>[/]<v [i]||None>"
        );
        assert_eq!(parsed("{Self::TENANT}-{N}").unwrap(), "<Self :: TENANT||Some('-')>[-]<N||None>");
    }

    #[test]
    fn mistakes_say_what_to_write() {
        for (text, part) in [
            ("", "is empty"),
            ("a{", "never closed"),
            ("a}", "without its `{`"),
            ("{}", "name the value"),
            ("{0}", "is a position"),
            ("{order_id}{i}", "nothing between"),
            ("{oder_id}", "did you mean `{order_id}`?"),
            ("{order_id:width$}", "width or precision"),
            ("{1 + 1}", "not a name"),
            ("{order.await}", "not a name"),
            ("{order_id + 1}", "not a name"),
            ("{(}", "not a name"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
