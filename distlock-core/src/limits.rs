//! Defaults and limits.

use std::time::Duration;

/// The namespace of a manager that sets none: a lock on `order:42` is the Redis key `lock:order:42`.
pub const DEFAULT_NAMESPACE: &str = "lock";
/// The ttl of a lease for which neither the manager nor the call sets one: 30 s, counted from the moment
/// before the acquire is sent.
pub const DEFAULT_TTL: Duration = Duration::from_secs(30);
/// The longest wait for a server's answer, unless the manager sets another: 1 s, counted from the moment when
/// the command is sent.
pub const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that making a connection may take, unless the manager sets another: 1 s.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The shortest ttl: 10 ms. In a shorter one, a round trip and the allowance for drift would leave no
/// validity.
pub const MIN_TTL: Duration = Duration::from_millis(10);
/// The longest ttl: 366 days, far less than what Redis can add to its clock.
pub const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The longest key: 4,096 bytes of UTF-8, without the namespace.
pub const MAX_KEY_BYTES: usize = 4096;

/// For how long after its start a node of a quorum does not grant, unless the manager sets another delay:
/// 60 s. It is also the longest ttl on that quorum.
pub(crate) const DEFAULT_RESTART_DELAY: Duration = Duration::from_secs(60);

/// How long a key's fencing counter outlives the key's last grant on a Redis server, unless the manager sets
/// another lifetime: 2 days. Later the server's clock keeps fencing tokens rising.
pub(crate) const DEFAULT_FENCE_LIFETIME: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// The shortest lifetime of a fencing counter: 1 day.
const MIN_FENCE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How often the fencing counter of a held lease is told to last. Counters last for a day at the least.
pub(crate) const KEEP_FENCE_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// A lease is renewed this many times in each ttl.
pub(crate) const RENEWALS_PER_TTL: u32 = 3;

/// The ttl in whole milliseconds, rounded down.
///
/// # Errors
/// The range, if the ttl is outside of it.
pub(crate) fn check_ttl(ttl: Duration) -> Result<Duration, String> {
    if (MIN_TTL..=MAX_TTL).contains(&ttl) {
        Ok(Duration::new(ttl.as_secs(), ttl.subsec_millis() * 1_000_000))
    } else {
        Err(format!("a lease lasts {MIN_TTL:?} to {} days", MAX_TTL.as_secs() / 86_400))
    }
}

/// Checks the lifetime of fencing counters.
///
/// # Errors
/// The range, if the lifetime is outside of it.
pub(crate) fn check_fence_lifetime(lifetime: Duration) -> Result<(), String> {
    if (MIN_FENCE_LIFETIME..=MAX_TTL).contains(&lifetime) {
        Ok(())
    } else {
        let days = MAX_TTL.as_secs() / 86_400;
        Err(format!("fence_lifetime is {lifetime:?}; a fencing counter is kept for 1 to {days} days"))
    }
}

/// For how long a server that may have lost leases does not grant, so that they have run out by then.
#[derive(Clone, Copy)]
pub(crate) enum GrantDelay {
    /// A quorum's node, after its start.
    Restart(Duration),
    /// A server that has become the primary.
    Failover(Duration),
}

/// Checks a ttl against the delay of the servers, if they have one.
///
/// # Errors
/// The limit and the way out, if the lease could outlast the delay of a server that has lost it.
pub(crate) fn check_grant_delay(ttl: Duration, delay: Option<GrantDelay>) -> Result<(), String> {
    match delay {
        Some(GrantDelay::Failover(delay)) if ttl > delay => Err(format!(
            "it is above the failover_delay of {delay:?}, after which a server that has lost the lease would grant \
             the key again; shorten the ttl, or raise failover_delay on all managers of the server"
        )),
        Some(GrantDelay::Restart(delay)) if ttl > delay => Err(format!(
            "it is above the quorum's restart_delay of {delay:?}, after which a node that has lost the lease would \
             grant the key again; shorten the ttl, or raise restart_delay on all managers of the quorum"
        )),
        _ => Ok(()),
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

    #[test]
    fn a_fencing_counter_is_kept_for_a_day_at_least() {
        assert!(check_fence_lifetime(DEFAULT_FENCE_LIFETIME).is_ok());
        assert!(check_fence_lifetime(MIN_FENCE_LIFETIME).is_ok());
        assert!(check_fence_lifetime(MIN_FENCE_LIFETIME.mul_f64(0.999)).is_err());
        assert!(check_fence_lifetime(MAX_TTL).is_ok());
        assert!(check_fence_lifetime(Duration::MAX).is_err());
    }
}
