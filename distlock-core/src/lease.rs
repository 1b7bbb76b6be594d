//! Validity, owner token and fencing token: arithmetic on a given `now`, no I/O.

use std::{fmt, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;

/// Proves whose lease it is: a fresh UUID v4 for each acquisition, from the system's random source.
///
/// It never appears in `Debug` output, errors or logs: who knows it can release the lease.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OwnerToken(Uuid);

impl OwnerToken {
    /// A fresh one.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Its text, as the store keeps it: 36 characters, written into `buffer`.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerToken(..)")
    }
}

/// A number that rises with every grant of a key, for the protected resource to check: it refuses a write whose token
/// is below the highest that it has seen.
///
/// The term and the reason are Martin Kleppmann's, "How to do distributed locking" (2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// A token of this value, for stores.
    pub fn new(value: u64) -> Self {
        Self(value)
    }

    /// Its value, below 2^53.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What the local clock may be wrong by over one ttl: the ttl's hundredth and 2 ms, as the Redlock description has it.
pub(crate) fn drift(ttl: Duration) -> Duration {
    ttl / 100 + Duration::from_millis(2)
}

/// The last instant at which a lease asked for at `sent` may be believed in.
///
/// It is counted from before the request was sent, because the server started its clock somewhere between the two.
pub(crate) fn valid_until(sent: Instant, ttl: Duration) -> Instant {
    sent + ttl.saturating_sub(drift(ttl))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_is_the_ttl_less_the_drift_from_before_sending() {
        let sent = Instant::now();
        assert_eq!(valid_until(sent, Duration::from_secs(30)), sent + Duration::from_millis(29_698));
        assert_eq!(valid_until(sent, Duration::from_millis(10)), sent + Duration::from_micros(7_900));
        assert_eq!(valid_until(sent, Duration::from_millis(2)), sent);
        assert_eq!(valid_until(sent, Duration::ZERO), sent);
    }

    #[test]
    fn an_owner_token_is_a_fresh_uuid_v4_that_debug_hides() {
        let (one, two) = (OwnerToken::random(), OwnerToken::random());
        assert!(one != two);
        let mut buffer = [0; 36];
        let text = one.encode(&mut buffer).to_owned();
        assert_eq!(Uuid::parse_str(&text).unwrap().get_version_num(), 4);
        assert!(!format!("{one:?}").contains(&text));
    }
}
