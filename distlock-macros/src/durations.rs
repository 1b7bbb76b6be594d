//! Parses durations: `30`, `"500ms"`, `"1m 30s"`, or an expression.

use std::time::Duration;

use proc_macro2::Span;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, LitInt, Result, UnOp, spanned::Spanned};

use crate::{
    args::word,
    limits::{MAX_TTL, MIN_TTL},
};

/// A duration that is known at compile time, or an expression whose value is one.
pub(crate) enum Length {
    Known(Duration, Span),
    Computed(Expr),
}

/// Parses the value of the duration argument `name`, and checks its range.
///
/// # Errors
/// The value is not in one of the forms, or out of the argument's range. The message says what to write.
pub(crate) fn parse(name: &str, value: Expr) -> Result<Length> {
    let span = value.span();
    let wrong = |what: String| Err(Error::new(span, what));
    let or_forever = if name == "wait" { ", or `wait = forever`" } else { "" };
    let forms = format!(
        "write whole seconds, `{name} = 30`, a duration with units, `{name} = \"1m 30s\"`, \
         or an expression of type `Duration`{or_forever}"
    );
    let known = match &value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => seconds(name, number, &forms),
        Expr::Lit(ExprLit { lit: Lit::Float(_), .. }) => {
            Err(format!("`{name}` takes whole seconds; for a fraction write the unit: `{name} = \"500ms\"`"))
        }
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if text.value().trim() == "forever" => {
            Err(misplaced_forever(name))
        }
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            with_units(&text.value()).map_err(|what| format!("{what} in `{name}`; {forms}"))
        }
        Expr::Lit(_) => Err(format!("`{name}` is a duration; {forms}")),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), .. }) => {
            Err(format!("`{name}` cannot be negative; {forms}"))
        }
        _ if word(&value).is_some_and(|(word, _)| word == "forever") => Err(misplaced_forever(name)),
        _ => return Ok(Length::Computed(value)),
    };
    match known.and_then(|length| check_range(name, length)) {
        Ok(length) => Ok(Length::Known(length, span)),
        Err(what) => wrong(what),
    }
}

/// Returns the duration that a number means. Refuses what stands behind the number without quotes, a unit or
/// a type.
fn seconds(name: &str, number: &LitInt, forms: &str) -> std::result::Result<Duration, String> {
    const TYPES: [&str; 12] =
        ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"];
    let digits = number.base10_digits();
    match number.suffix() {
        "" => digits.parse().map(Duration::from_secs).map_err(|_| format!("`{name}` is too long; {forms}")),
        units if with_units(&format!("{digits}{units}")).is_ok() => {
            Err(format!("a duration with units needs quotes: write `{name} = \"{digits}{units}\"`"))
        }
        ty if TYPES.contains(&ty) => {
            Err(format!("`{name}` takes the number of seconds without a type: write `{name} = {digits}`"))
        }
        unit => Err(format!("the unit `{unit}` is not known (ms, s, m, h or d) in `{name}`; {forms}")),
    }
}

/// What to write in place of `forever`, in quotes or in another argument than `wait`.
fn misplaced_forever(name: &str) -> String {
    let instead = match name {
        "wait" => return "`forever` is a word of its own: write `wait = forever`, without quotes".to_owned(),
        "ttl" => {
            "the lease is renewed while the body runs, so write how long a crashed holder may block the key: \
             `ttl = 30`"
        }
        "max_hold" => "without `max_hold` the lock is held until the body ends: leave `max_hold` out",
        _ => "write how long the key stays taken: `at_least = \"10s\"`",
    };
    format!("`forever` is a value of `wait` alone; {instead}")
}

/// Returns the duration if the argument can have it, and a message otherwise.
fn check_range(name: &str, length: Duration) -> std::result::Result<Duration, String> {
    let too_long = length > MAX_TTL;
    let days = MAX_TTL.as_secs() / 86_400;
    let message = match name {
        "ttl" if length.is_zero() => "`ttl = 0` would end the lease before the body begins; \
             write how long a crashed holder may block the key: `ttl = 30`"
            .to_owned(),
        "ttl" if length < MIN_TTL => format!(
            "`ttl` ({length:?}) is below {MIN_TTL:?}, which one round trip can use up; \
             write how long a crashed holder may block the key: `ttl = 30`"
        ),
        "ttl" if too_long => format!(
            "`ttl` is above {days} days; write how long a crashed holder may block the key, `ttl = 30`, \
             because the lease is renewed while the body runs"
        ),
        "at_least" if too_long => {
            format!("`at_least` is above {days} days, the longest ttl; write a shorter time")
        }
        "wait" if too_long => {
            format!("`wait` is above {days} days; write `wait = forever` for a wait without a bound")
        }
        "max_hold" if length.is_zero() => "`max_hold = 0` would stop the body before it begins; \
             write how long it may run, or leave `max_hold` out"
            .to_owned(),
        _ => return Ok(length),
    };
    Err(message)
}

impl Length {
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
