//! How long a lease may be believed in: pure arithmetic.

use std::time::Duration;

/// What the local clock may be wrong by over one ttl: the ttl's hundredth and 2 ms, as the Redlock
/// description has it.
pub(crate) fn drift(ttl: Duration) -> Duration {
    ttl / 100 + Duration::from_millis(2)
}

/// How long a lease may be believed in, counted from before it was asked for: the server started its clock
/// somewhere between the question and the answer.
pub(crate) fn validity(ttl: Duration) -> Duration {
    ttl.saturating_sub(drift(ttl))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validity_is_the_ttl_less_the_drift() {
        assert_eq!(validity(Duration::from_secs(30)), Duration::from_millis(29_698));
        assert_eq!(validity(Duration::from_millis(10)), Duration::from_micros(7_900));
        assert_eq!(validity(Duration::from_millis(2)), Duration::ZERO);
        assert_eq!(validity(Duration::ZERO), Duration::ZERO);
    }
}
