//! What a request can ask for.

use std::time::Duration;

use crate::{
    error::{LockError, Setting},
    limits::check_ttl,
};

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

#[cfg(test)]
mod tests {
    use super::*;

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
