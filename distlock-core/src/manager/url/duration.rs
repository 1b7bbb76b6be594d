//! Reads a duration in the forms that the attribute has too: `30`, `500ms`, `1m 30s`.

use std::time::Duration;

/// The units, in milliseconds.
const UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Parses whole seconds, or whole numbers that each have a unit.
///
/// # Errors
/// What is wrong with the text, as the middle of a sentence.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if let Ok(seconds) = text.parse()
        && text.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Ok(Duration::from_secs(seconds));
    }
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let (mut rest, mut total_ms) = (text, 0_u64);
    while !rest.is_empty() {
        let (number, after) = split(rest, |char| char.is_ascii_digit());
        let number: u64 = match number.parse() {
            Ok(number) => number,
            Err(_) if number.is_empty() => return Err("it does not begin with a whole number".to_owned()),
            Err(_) => return Err("a number is too large".to_owned()),
        };
        let (unit, after) = split(after.trim_start(), char::is_alphabetic);
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(match unit {
                "" if after.starts_with(['.', ',']) => "it has a fraction".to_owned(),
                "" => "a number has no unit".to_owned(),
                _ => "a unit is not known".to_owned(),
            });
        };
        let so_far = number.checked_mul(*factor).and_then(|ms| total_ms.checked_add(ms));
        total_ms = so_far.ok_or("it is too long")?;
        rest = after.trim_start();
    }
    Ok(Duration::from_millis(total_ms))
}

/// Splits the text behind its first characters of a kind.
fn split(text: &str, is_of_kind: fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.len() - text.trim_start_matches(is_of_kind).len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_and_numbers_with_units_are_durations() {
        for (text, ms) in [
            ("30", 30_000),
            ("0", 0),
            ("500ms", 500),
            ("2s", 2_000),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            (" 1 h ", 3_600_000),
            ("2min", 120_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_duration_is_refused() {
        for text in [
            "",
            " ",
            "s",
            "1.5s",
            "1.5",
            "-1s",
            "+1",
            "1 year",
            "1s 2",
            "99999999999999999999",
            "99999999999999999999s",
            "99999999999999999d",
            "1\u{b5}s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
