//! Parses a hole of the key template: a value, and how it is formatted.

use std::str::FromStr;

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use syn::{Error, Expr, ExprPath, ExprUnary, Ident, Result, UnOp, ext::IdentExt};

use crate::{args::whole_expr, bindings::Bindings, suggest::meant};

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

/// Returns the position of the brace that closes the hole at the beginning of the text.
///
/// # Errors
/// There is no such brace.
pub(crate) fn end(text: &str) -> std::result::Result<usize, &'static str> {
    let Some(format_at) = value_len(&text[1..]).map(|len| len + 1) else {
        return Err("a quotation mark in a placeholder of the key template is never closed; close it, \
             or write `{{` if the brace before it is text");
    };
    let close = text[format_at..].find('}').map(|at| format_at + at);
    close.ok_or("a `{` is never closed in the key template; write `{{` for a literal brace")
}

/// Parses the text between the braces of a hole.
///
/// # Errors
/// The mistake in it. Its place is `span`.
pub(crate) fn parse(text: &str, span: Span, bindings: &Bindings) -> Result<Hole> {
    let wrong = |what: String| Error::new(span, what);
    let (value, spec) = text.split_at(value_len(text).unwrap_or(text.len()));
    let value = value.trim();
    if value.is_empty() {
        return Err(wrong("an empty `{}` in the key template; name the value: `{order_id}`".into()));
    }
    if value.chars().all(|c| c.is_ascii_digit()) {
        return Err(wrong(format!(
            "`{{{value}}}` in the key template is a position; name the value: `{{order_id}}`"
        )));
    }
    let not_a_value = |what: Option<&Expr>| wrong(not_a_value(value, what));
    let tokens = TokenStream::from_str(value).map_err(|_| not_a_value(None))?;
    let tokens = placed(raw_keywords(tokens, bindings), span, bindings, true);
    let expr = whole_expr(tokens.clone()).map_err(|_| not_a_value(None))?;
    let base = base(&expr).map_err(|other| not_a_value(Some(other)))?;
    if let (Some(name), None) = (base.path.get_ident(), &base.qself) {
        check_name(name, bindings, span)?;
    }
    check_format(spec).map_err(wrong)?;
    Ok(Hole { value: tokens, spec: spec.trim_end().to_owned(), follower: None })
}

/// Returns the length of the value at the beginning of the text: up to the colon of the format, or to the
/// closing brace. Both may also be part of the value, in brackets and in quotation marks. `None` if a
/// quotation mark is not closed.
fn value_len(text: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let mut len = c.len_utf8();
        match c {
            '"' => len = string_len(text, at)?,
            '\'' => len = char_len(&text[at..]),
            '}' if braces == 0 => return Some(at),
            '{' => braces += 1,
            '}' => braces -= 1,
            '(' | '[' | '<' => brackets += 1,
            ')' | ']' | '>' => brackets = brackets.saturating_sub(1),
            ':' if is_path_separator(&text[at..]) => len = 2,
            ':' if braces == 0 && brackets == 0 => return Some(at),
            _ => {}
        }
        at += len;
    }
    Some(text.len())
}

/// Whether the text begins with the `::` of a path, and not with a format whose fill is a colon: `:` and
/// `:>8`.
fn is_path_separator(text: &str) -> bool {
    let Some(after) = text.strip_prefix("::") else { return false };
    let inside = after.split('}').next().unwrap_or(after);
    match inside.chars().next() {
        Some('>' | '^') => false,
        Some('<') => inside.contains('>'),
        _ => true,
    }
}

/// Returns the length of the string literal whose quotation mark is at `at`. `None` if it is not closed.
fn string_len(text: &str, at: usize) -> Option<usize> {
    let before = text[..at].trim_end_matches('#');
    let inside = &text[at + 1..];
    if before.ends_with('r') {
        let close = format!("\"{}", &text[before.len()..at]);
        return inside.find(&close).map(|end| 1 + end + close.len());
    }
    let mut escaped = false;
    for (end, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(end + 2),
            _ => {}
        }
    }
    None
}

/// Returns the length of the character literal that the text begins with, or of the mark alone if the text
/// begins with a lifetime.
fn char_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    let is_escape = matches!(chars.next(), Some((_, '\\')));
    if is_escape {
        chars.next();
        return chars.find(|(_, c)| *c == '\'').map_or(1, |(end, _)| end + 1);
    }
    match chars.next() {
        Some((end, '\'')) => end + 1,
        _ => 1,
    }
}

/// Checks a format, `:[[fill]align][sign]['#']['0'][width]['.' precision][kind]`.
fn check_format(format: &str) -> std::result::Result<(), String> {
    const KINDS: [&str; 11] = ["", "?", "x?", "X?", "x", "X", "o", "b", "e", "E", "p"];
    let Some(text) = format.trim_end().strip_prefix(':') else { return Ok(()) };
    let mut chars = text.chars();
    let filled = match (chars.next(), chars.next()) {
        (Some('{' | '}'), Some('<' | '^' | '>')) => {
            return Err(format!(
                "the format `{format}` in the key template has a brace as its fill; take another"
            ));
        }
        (Some(_), Some('<' | '^' | '>')) => chars.as_str(),
        _ => text.strip_prefix(['<', '^', '>']).unwrap_or(text),
    };
    if filled.contains('$') || filled.contains(".*") {
        return Err(format!(
            "the format `{format}` in the key template takes its width or precision from an argument; \
             write a number instead"
        ));
    }
    let digits = |text: &'_ str| text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unsigned = filled.strip_prefix(['+', '-']).unwrap_or(filled);
    let width = unsigned.strip_prefix('#').unwrap_or(unsigned);
    let mut kind = &width[width.len() - digits(width)..];
    if let Some(precision) = kind.strip_prefix('.') {
        kind = &precision[precision.len() - digits(precision)..];
    }
    if KINDS.contains(&kind) {
        Ok(())
    } else {
        Err(format!(
            "the format `{format}` in the key template is not known; \
             write one as in `format!`, such as `:08` or `:?`, or leave it out"
        ))
    }
}

/// Returns the name or path whose fields, indices and method calls the expression consists of.
///
/// # Errors
/// The part of the expression that is something else.
fn base(expr: &Expr) -> std::result::Result<&ExprPath, &Expr> {
    match expr {
        Expr::Path(path) if path.attrs.is_empty() => Ok(path),
        Expr::Field(field) => base(&field.base),
        Expr::Index(index) => base(&index.expr),
        Expr::MethodCall(call) => base(&call.receiver),
        Expr::Paren(paren) => base(&paren.expr),
        other => Err(other),
    }
}

/// The message for a hole that is not a value: `part` is what it must not contain, or `None` if it is not an
/// expression.
fn not_a_value(value: &str, part: Option<&Expr>) -> String {
    let what = match part {
        Some(Expr::Await(_)) => {
            "waits for a future; await the future before the call, and pass its value as an argument"
        }
        Some(Expr::Reference(_) | Expr::Unary(ExprUnary { op: UnOp::Deref(_), .. })) => {
            "borrows or dereferences; write the name without `&` and `*`, because a placeholder only borrows"
        }
        Some(Expr::Lit(_)) => {
            "is a literal; write it as text, without braces, or with `{{` and `}}` for literal braces"
        }
        _ => {
            "is not a name, a field, an index or a method call; \
             compute it in an expression: `key = format!(..)`"
        }
    };
    format!("`{{{value}}}` in the key template {what}")
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
        let message = "`self` in the key template, but the function has no receiver; \
             add `&self`, or name an argument";
        return Err(Error::new(span, message));
    }
    let names: Vec<&str> = bindings.names().collect();
    let hint = match meant(&text, &names) {
        Some(name) => format!("did you mean `{{{name}}}`?"),
        None if names.is_empty() => "the function has no arguments".to_owned(),
        None => {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let field = if bindings.contains("self") {
                format!("; write a field as `{{self.{text}}}`")
            } else {
                String::new()
            };
            format!("the arguments are {}{field}", names.join(", "))
        }
    };
    Err(Error::new(
        span,
        format!("`{{{text}}}` in the key template is not an argument of the function; {hint}"),
    ))
}

/// Turns keywords into raw identifiers where they are names: after a dot, and if an argument has the name. As
/// in format strings, `{type}` means the argument `r#type`.
fn raw_keywords(tokens: TokenStream, bindings: &Bindings) -> TokenStream {
    // The two punctuation marks before a token. A dot after another dot is a range's.
    let (mut last, mut last_but_one) = (None, None);
    tokens
        .into_iter()
        .map(|token| {
            let after_dot = last == Some('.') && last_but_one != Some('.');
            let mut punct = None;
            let token = match token {
                TokenTree::Group(group) => {
                    Group::new(group.delimiter(), raw_keywords(group.stream(), bindings)).into()
                }
                TokenTree::Ident(name) if is_keyword(&name) => {
                    let text = name.to_string();
                    let is_name = after_dot && text != "await" || bindings.contains(&text);
                    if is_name { Ident::new_raw(&text, name.span()).into() } else { name.into() }
                }
                TokenTree::Punct(mark) => {
                    punct = Some(mark.as_char());
                    mark.into()
                }
                literal => literal,
            };
            (last_but_one, last) = (last, punct);
            token
        })
        .collect()
}

/// Whether the name is a keyword, in any edition, that can be a raw identifier.
fn is_keyword(name: &Ident) -> bool {
    let text = name.to_string();
    !matches!(text.as_str(), "self" | "Self" | "super" | "crate" | "_")
        && (text == "gen" || syn::parse_str::<Ident>(&text).is_err())
}

/// Moves the tokens to the place of the literal, for rustc's messages.
///
/// An argument's name is resolved where the argument is declared, so that it is found even if a macro wrote
/// the argument and its caller the template, or the other way round. A constant's name is the user's. For all
/// other tokens rustc is told that they are generated: otherwise it would offer to replace the literal by the
/// field or the method that a misspelled name is similar to.
fn placed(tokens: TokenStream, span: Span, bindings: &Bindings, mut is_first: bool) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            let mut new_span = span.resolved_at(Span::mixed_site());
            match &token {
                TokenTree::Group(group) => {
                    token =
                        Group::new(group.delimiter(), placed(group.stream(), span, bindings, false)).into();
                }
                TokenTree::Ident(name) => match bindings.get(&name.unraw().to_string()) {
                    Some(bound) => new_span = span.resolved_at(bound),
                    None if is_first => new_span = span,
                    None => {}
                },
                _ => {}
            }
            is_first = false;
            token.set_span(new_span);
            token
        })
        .collect()
}
