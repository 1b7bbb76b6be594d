//! Refuses a value where `on_busy` and `on_error` take a handler, such as `Err(..)` or `0`.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{Error, Expr, ExprLit, Lit, Result};

use crate::args::word;

/// Refuses a value that cannot be a handler.
///
/// # Errors
/// What the argument takes, and how the value is written as a handler.
pub(crate) fn refuse_value(name: &str, keyword: &str, takes: &str, value: &Expr) -> Result<()> {
    if let Some(place) = asyncness(value) {
        let message =
            format!("`{name}` is not awaited; remove `async`, and await what is needed after the call");
        return Err(Error::new(place, message));
    }
    let instead = match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if text.value() == keyword => {
            format!("`{name} = {keyword}`, without quotes")
        }
        other => match shown(other) {
            Some(shown) => format!("`{name} = |_| {shown}`"),
            None => return Ok(()),
        },
    };
    Err(Error::new_spanned(value, format!("{takes}; write {instead}")))
}

/// Returns the word `async` of a closure that makes a future.
fn asyncness(value: &Expr) -> Option<Span> {
    let Expr::Closure(closure) = value else { return None };
    match (&closure.asyncness, &*closure.body) {
        (Some(asyncness), _) => Some(asyncness.span),
        (None, Expr::Async(body)) => Some(body.async_token.span),
        (None, _) => None,
    }
}

/// The value, shortened. `None` if the expression may be a handler.
fn shown(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(literal) => Some(literal.to_token_stream().to_string()),
        Expr::Tuple(tuple) if tuple.elems.is_empty() => Some("()".to_owned()),
        Expr::Path(_) => word(value).map(|(word, _)| word).filter(|word| word == "None"),
        Expr::Call(call) => {
            let Expr::Path(function) = &*call.func else { return None };
            let last = function.path.segments.last()?.ident.to_string();
            matches!(last.as_str(), "Ok" | "Err" | "Some").then(|| format!("{last}(..)"))
        }
        Expr::Return(returned) => shown(returned.expr.as_deref()?),
        Expr::Paren(inner) => shown(&inner.expr),
        Expr::Struct(_) | Expr::Tuple(_) | Expr::Array(_) => Some("..".to_owned()),
        _ => None,
    }
}
