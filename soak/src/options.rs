//! The options of the soaks.

use std::time::Duration;

/// Reads `--minutes N` or `--seconds N`, by default one minute, and `--seed N`, by default a random one.
///
/// # Errors
///
/// A message for the user, if a word is no option or has no number.
pub fn read(words: &[&str]) -> Result<(Duration, u64), String> {
    let (mut duration, mut seed) = (Duration::from_secs(60), fastrand::u64(1..1_000_000));
    for pair in words.chunks(2) {
        let number = pair.get(1).and_then(|word| word.parse().ok());
        match (pair[0], number) {
            ("--minutes", Some(minutes)) => duration = Duration::from_secs(60 * minutes),
            ("--seconds", Some(seconds)) => duration = Duration::from_secs(seconds),
            ("--seed", Some(number)) => seed = number,
            _ => return Err(format!("`{}`: use --minutes N, --seconds N, --seed N", pair.join(" "))),
        }
    }
    Ok((duration, seed))
}
