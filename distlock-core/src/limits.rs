//! Defaults and limits, each a named constant.

use std::time::Duration;

/// The namespace of a manager that was not given one: a lock on `order:42` is the Redis key `lock:order:42`.
pub const DEFAULT_NAMESPACE: &str = "lock";
/// How long a lease lasts when nobody says otherwise, counted from the moment before it is asked for.
pub const DEFAULT_TTL: Duration = Duration::from_secs(30);
/// The longest that an answer of the server is waited for.
pub const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that a connection may take to be made.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The shortest ttl: below it the drift allowance and a round trip would leave nothing.
pub const MIN_TTL: Duration = Duration::from_millis(10);
/// The longest ttl, far inside what Redis can add to its clock.
pub const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The longest key, in bytes of UTF-8 and without the namespace.
pub const MAX_KEY_BYTES: usize = 4096;

/// A held lease is renewed each time this part of its ttl has passed.
pub(crate) const RENEWALS_PER_TTL: u32 = 3;

/// The ttl cut to whole milliseconds, or why it cannot be kept.
pub(crate) fn check_ttl(ttl: Duration) -> Result<Duration, String> {
    if (MIN_TTL..=MAX_TTL).contains(&ttl) {
        Ok(Duration::new(ttl.as_secs(), ttl.subsec_millis() * 1_000_000))
    } else {
        Err(format!("a lease lasts {MIN_TTL:?} to {} days", MAX_TTL.as_secs() / 86_400))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_whole_milliseconds_between_its_bounds() {
        assert!(check_ttl(Duration::ZERO).is_err());
        assert!(check_ttl(Duration::from_nanos(9_999_999)).is_err());
        assert_eq!(check_ttl(MIN_TTL), Ok(MIN_TTL));
        assert_eq!(check_ttl(Duration::from_micros(10_999)), Ok(Duration::from_millis(10)));
        assert_eq!(check_ttl(MAX_TTL), Ok(MAX_TTL));
        assert!(check_ttl(MAX_TTL + Duration::from_nanos(1)).is_err());
        assert!(check_ttl(Duration::from_millis(u64::MAX)).is_err());
    }
}
