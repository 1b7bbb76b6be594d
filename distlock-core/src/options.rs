//! The settings of a request.

use std::time::Duration;

use crate::{
    error::{LockError, Setting},
    limits::{GrantDelay, check_grant_delay, check_ttl},
};

/// What happens to a body whose lease is lost. The default is [`Cancel`](Self::Cancel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnLost {
    /// The body is dropped at its next await, and the call returns [`LockError::Lost`].
    #[default]
    Cancel,
    /// The body runs to its end, without the lock, and the call returns its value. The body can learn of the
    /// loss from its guard, by [`LockGuard::is_held`](crate::LockGuard::is_held).
    Finish,
}

/// When [`run`](crate::LockRequest::run), or a function with the attribute, returns. The default is
/// [`Confirmed`](Self::Confirmed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Release {
    /// When the store has confirmed the release. The key is free for every later call.
    #[default]
    Confirmed,
    /// When the body has ended and the release is on its way, before every later command of this manager. A
    /// short call then takes half the round trips.
    ///
    /// In return, others may find the key busy for about a round trip more. A program that ends its runtime
    /// at once leaves the key to its ttl. After a broken connection, or if the server has lost its scripts, a
    /// later command may overtake the release.
    Background,
}

/// How long a call may wait for a key that another owner holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: one attempt.
    No,
    /// This long at the most, counted from the call.
    UpTo(Duration),
    Forever,
}

/// The settings of one call.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) ttl: Duration,
    pub(crate) wait: Wait,
    /// Whether the lease is renewed.
    pub(crate) renew: bool,
    /// How long the lease may be held, renewals included; `None` for no limit.
    pub(crate) max_hold: Option<Duration>,
    /// How long the lease is kept even if the body ends earlier.
    pub(crate) at_least: Duration,
    /// Whether the grant has a fencing token.
    pub(crate) fenced: bool,
    /// Whether the waiters of all processes take turns. If not, a waiter of the holder's runtime may take the
    /// lease over.
    pub(crate) fair: bool,
    pub(crate) on_lost: OnLost,
    pub(crate) release: Release,
}

impl Options {
    /// The defaults, with this ttl.
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

    /// These options, with the ttl in whole milliseconds as the server counts it. `delay` is that of
    /// the servers, if they have one.
    ///
    /// # Errors
    /// [`LockError::InvalidDuration`] for `key` if a duration is out of range.
    pub(crate) fn checked(mut self, key: &str, delay: Option<GrantDelay>) -> Result<Self, LockError> {
        let invalid = |setting, value, reason: String| LockError::InvalidDuration {
            key: key.to_owned(),
            setting,
            value,
            reason,
        };
        self.ttl = check_ttl(self.ttl).map_err(|reason| invalid(Setting::Ttl, self.ttl, reason))?;
        check_grant_delay(self.ttl, delay).map_err(|reason| invalid(Setting::Ttl, self.ttl, reason))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_fits_into_the_ttl() {
        let mut options = Options::new(Duration::from_secs(1));
        options.at_least = Duration::from_secs(1);
        assert!(options.clone().checked("k", None).is_ok());
        options.at_least += Duration::from_nanos(1);
        assert!(matches!(
            options.checked("k", None),
            Err(LockError::InvalidDuration { setting: Setting::AtLeast, .. })
        ));
    }
}
