//! Parses durations: `30`, `"500ms"`, `"1m 30s"`, or an expression.

use std::time::Duration;

use proc_macro2::{Literal, Span, TokenStream};
use quote::quote;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, Result, UnOp, spanned::Spanned};

/// A duration that is known at compile time, or an expression whose value is one.
pub(crate) enum Length {
    Known(Duration, Span),
    Computed(Expr),
}

/// Parses the value of the duration argument `name`.
///
/// # Errors
/// The value is not in one of the forms; the message lists them.
pub(crate) fn parse(name: &str, value: Expr) -> Result<Length> {
    let span = value.span();
    let wrong = |what: String| Err(Error::new(span, what));
    let or_forever = if name == "wait" { ", or `wait = forever`" } else { "" };
    let forms = format!(
        "write whole seconds, `{name} = 30`, a duration with units, `{name} = \"1m 30s\"`, \
         or an expression of type `Duration`{or_forever}"
    );
    match &value {
        Expr::Lit(ExprLit { lit: Lit::Int(seconds), .. }) if seconds.suffix().is_empty() => {
            match seconds.base10_parse() {
                Ok(seconds) => Ok(Length::Known(Duration::from_secs(seconds), span)),
                Err(_) => wrong(format!("`{name}` is too long; {forms}")),
            }
        }
        Expr::Lit(ExprLit { lit: Lit::Int(_) | Lit::Float(_), .. }) => wrong(format!(
            "`{name}` takes whole seconds; for a fraction write the unit: `{name} = \"500ms\"`"
        )),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => match with_units(&text.value()) {
            Ok(length) => Ok(Length::Known(length, span)),
            Err(what) => wrong(format!("{what} in `{name}`; {forms}")),
        },
        Expr::Lit(_) => wrong(format!("`{name}` is a duration; {forms}")),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), .. }) => {
            wrong(format!("`{name}` cannot be negative; {forms}"))
        }
        _ => Ok(Length::Computed(value)),
    }
}

impl Length {
    /// Returns an expression of type `Duration`.
    pub(crate) fn tokens(&self) -> TokenStream {
        match self {
            Self::Known(length, _) => {
                let (secs, nanos) =
                    (Literal::u64_suffixed(length.as_secs()), Literal::u32_suffixed(length.subsec_nanos()));
                quote!(::core::time::Duration::new(#secs, #nanos))
            }
            Self::Computed(expr) => quote!(#expr),
        }
    }

    /// Returns the duration and its place, if it is known at compile time.
    pub(crate) fn known(&self) -> Option<(Duration, Span)> {
        match self {
            Self::Known(length, span) => Some((*length, *span)),
            Self::Computed(_) => None,
        }
    }
}

/// The units, in milliseconds.
const UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Parses whole numbers, each with its unit, such as `"1m 30s"`.
fn with_units(text: &str) -> std::result::Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("an empty duration".to_owned());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let number: u64 = match number.parse() {
            Ok(number) => number,
            Err(_) if number.is_empty() => {
                return Err(format!("`{rest}` does not begin with a whole number"));
            }
            Err(_) => return Err(format!("`{number}` is too large")),
        };
        let after = after.trim_start();
        let letters = after.len() - after.trim_start_matches(char::is_alphabetic).len();
        let (unit, after) = after.split_at(letters);
        if unit.is_empty() {
            return Err(if after.starts_with(['.', ',']) {
                format!("`{rest}` has a fraction: write whole numbers of a smaller unit")
            } else {
                format!("`{number}` has no unit (ms, s, m, h or d)")
            });
        }
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("the unit `{unit}` is not known (ms, s, m, h or d)"));
        };
        total = number
            .checked_mul(*factor)
            .and_then(|ms| total.checked_add(ms))
            .ok_or("a duration that is too long")?;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        for (text, ms) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("1m 30s", 90_000),
            (" 1 h ", 3_600_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(with_units(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_duration_is_refused() {
        for text in [
            "",
            " ",
            "30",
            "s",
            "1.5s",
            "-1s",
            "1 year",
            "1s 2",
            "99999999999999999999s",
            "99999999999999999d",
            "1\u{b5}s",
        ] {
            assert!(with_units(text).is_err(), "{text}");
        }
    }
}
