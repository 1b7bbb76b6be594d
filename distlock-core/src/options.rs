//! What a request can ask for, and every default as a named constant.

use std::{fmt, time::Duration};

use crate::error::LockError;

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

/// What happens to a body whose lease is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLost {
    /// It is dropped at its next await, and the call returns [`LockError::Lost`].
    #[default]
    Cancel,
    /// It runs to its end and its value is returned; it can ask its guard, [`LockGuard::is_held`](crate::LockGuard::is_held).
    Finish,
}

/// When [`run`](crate::LockRequest::run), or an annotated function, returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Release {
    /// When the store has confirmed the release: nobody finds the key taken after that.
    #[default]
    Confirmed,
    /// When the body has ended and the release is on its way, in front of every later command of this manager: half the round trips of a
    /// short call. What it gives up: for about a round trip others may still find the key taken, a program that ends its runtime at once
    /// leaves the key to its ttl, and after a break of the connection, or when the server has forgotten its scripts, a later
    /// command may come first.
    Background,
}

/// A duration that a request can be given, by the name that the attribute and the request share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// How long a lease lasts without renewal.
    Ttl,
    /// How long a lease may be held, renewals included.
    MaxHold,
    /// How long a lease is kept at the least.
    AtLeast,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ttl => "ttl",
            Self::MaxHold => "max_hold",
            Self::AtLeast => "at_least",
        })
    }
}

/// How long a call may wait for a key that somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// One attempt.
    No,
    /// At most so long, counted from the call.
    UpTo(Duration),
    Forever,
}

/// What one call asks for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) ttl: Duration,
    pub(crate) wait: Wait,
    pub(crate) renew: bool,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) at_least: Duration,
    pub(crate) fenced: bool,
    pub(crate) fair: bool,
    pub(crate) on_lost: OnLost,
    pub(crate) release: Release,
}

impl Options {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            wait: Wait::No,
            renew: true,
            max_hold: None,
            at_least: Duration::ZERO,
            fenced: false,
            fair: true,
            on_lost: OnLost::Cancel,
            release: Release::Confirmed,
        }
    }

    /// These options with the ttl in whole milliseconds, as the server counts it, or what is wrong with them.
    pub(crate) fn checked(mut self, key: &str) -> Result<Self, LockError> {
        let invalid = |setting, value, reason: String| LockError::InvalidDuration {
            key: key.to_owned(),
            setting,
            value,
            reason,
        };
        self.ttl = check_ttl(self.ttl).map_err(|reason| invalid(Setting::Ttl, self.ttl, reason))?;
        if let Some(max_hold) = self.max_hold.filter(Duration::is_zero) {
            let reason =
                "the body could not run at all; give it a duration above zero, or leave it out".to_owned();
            return Err(invalid(Setting::MaxHold, max_hold, reason));
        }
        if self.at_least > self.ttl {
            let reason = format!(
                "it is above the ttl of {:?}, after which the lease would end anyway; raise the ttl",
                self.ttl
            );
            return Err(invalid(Setting::AtLeast, self.at_least, reason));
        }
        Ok(self)
    }
}

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

    #[test]
    fn at_least_fits_into_the_ttl() {
        let mut options = Options::new(Duration::from_secs(1));
        options.at_least = Duration::from_secs(1);
        assert!(options.clone().checked("k").is_ok());
        options.at_least += Duration::from_nanos(1);
        assert!(matches!(
            options.checked("k"),
            Err(LockError::InvalidDuration { setting: Setting::AtLeast, .. })
        ));
    }
}
