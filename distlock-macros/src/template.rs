//! Parses and checks the key template, which consists of text and holes (the placeholders `{..}`).

use std::str::FromStr;

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use syn::{Error, Expr, ExprPath, Ident, LitStr, Member, Result, ext::IdentExt};

use crate::{args::whole_expr, bindings::Bindings, suggest::meant};

/// A piece of a checked template.
pub(crate) enum Piece {
    Text(String),
    Hole(Hole),
}

/// A placeholder: a value in the key.
pub(crate) struct Hole {
    /// The expression whose value is printed.
    pub(crate) value: TokenStream,
    /// The format with its `:`, as in a format string. Empty if the hole has none.
    pub(crate) spec: String,
    /// The character that follows the hole in the template. It is encoded where it occurs in the value, so
    /// that the end of the value is unmistakable.
    pub(crate) follower: Option<char>,
}

/// Parses a template, and checks its names against the function's arguments.
///
/// # Errors
/// The first mistake in the template. Its place is the whole literal.
pub(crate) fn parse(literal: &LitStr, bindings: &Bindings) -> Result<Vec<Piece>> {
    let span = literal.span();
    let wrong = |what: String| Error::new(span, what);
    let text = literal.value();
    if text.is_empty() {
        return Err(wrong(
            "the key template is empty, so that every call would share one lock; \
             write `key = \"order:{order_id}\"`"
                .into(),
        ));
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
            let close = closing_brace(rest).ok_or_else(|| {
                wrong("a `{` is never closed in the key template; write `{{` for a literal brace".into())
            })?;
            if let Some(Piece::Hole(_)) = pieces.last() {
                return Err(wrong(format!(
                    "two values with nothing between them in the key template, \
                     so that 1 and 23 would share a lock with 12 and 3; write a separator: `:{}`",
                    &rest[..=close]
                )));
            }
            pieces.push(Piece::Hole(hole(&rest[1..close], span, bindings)?));
            rest = &rest[close + 1..];
        }
    }
    push_text(&mut pieces, rest);
    // Tell each hole the character that follows it.
    let mut follower = None;
    for piece in pieces.iter_mut().rev() {
        match piece {
            Piece::Text(text) => follower = text.chars().next(),
            Piece::Hole(hole) => hole.follower = follower.take(),
        }
    }
    Ok(pieces)
}

/// Appends text, joined to the text before it.
fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// Returns the position of the brace that closes the one at the beginning of the text.
fn closing_brace(text: &str) -> Option<usize> {
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

/// Parses the text between the braces of a hole.
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
            "the format `{spec}` in the key template takes its width or precision from an argument; \
             write a number instead"
        )));
    }
    let wrong_form = || {
        wrong(format!(
            "`{{{value}}}` in the key template is not a name, a field, an index or a method call; \
             compute it in an expression: `key = format!(..)`"
        ))
    };
    // As in format strings, `{type}` means the argument `r#type`.
    let is_keyword = bindings.contains(value) && value != "self" && syn::parse_str::<Ident>(value).is_err();
    let raw = if is_keyword { "r#" } else { "" };
    let tokens = TokenStream::from_str(&format!("{raw}{value}")).map_err(|_| wrong_form())?;
    let tokens = respan(tokens, span, bindings);
    let expr = whole_expr(tokens.clone()).map_err(|_| wrong_form())?;
    let base = base(&expr).ok_or_else(wrong_form)?;
    if let (Some(name), None) = (base.path.get_ident(), &base.qself) {
        check_name(name, bindings, span)?;
    }
    Ok(Hole { value: tokens, spec: spec.trim_end().to_owned(), follower: None })
}

/// Returns the position of the format: it begins at a single colon outside of brackets.
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

/// Returns the name or path whose fields, indices and method calls the expression consists of. `None` if the
/// expression contains anything else.
fn base(expr: &Expr) -> Option<&ExprPath> {
    match expr {
        Expr::Path(path) if path.attrs.is_empty() => Some(path),
        Expr::Field(field) => match &field.member {
            Member::Named(name) if name == "await" => None,
            _ => base(&field.base),
        },
        Expr::Index(index) => base(&index.expr),
        Expr::MethodCall(call) => base(&call.receiver),
        Expr::Paren(paren) => base(&paren.expr),
        _ => None,
    }
}

/// Checks that a lower-case name is an argument. Other names may be constants outside of the function, which
/// rustc checks.
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
    Err(Error::new(
        span,
        format!("`{{{text}}}` in the key template is not an argument of the function; {hint}"),
    ))
}

/// Moves the tokens to the place of the literal, for rustc's messages. An argument's name is resolved where
/// the argument is declared, so that it is found even if a macro wrote the argument and its caller the
/// template, or the other way round.
fn respan(tokens: TokenStream, span: Span, bindings: &Bindings) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            let mut new_span = span;
            match &token {
                TokenTree::Group(group) => {
                    token = Group::new(group.delimiter(), respan(group.stream(), span, bindings)).into();
                }
                TokenTree::Ident(name) => {
                    if let Some(bound) = bindings.get(&name.unraw().to_string()) {
                        new_span = span.resolved_at(bound);
                    }
                }
                _ => {}
            }
            token.set_span(new_span);
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
    fn a_template_is_split_into_text_and_holes() {
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
    fn each_mistake_has_its_own_message() {
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
