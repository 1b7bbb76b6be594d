//! The errors of a lock, split by what the caller does next: wait, give up, fix the call, stop the work.

use std::{fmt, io, time::Duration};

use crate::{holder::Holder, limits::MAX_KEY_BYTES};

mod store;

pub use store::{StoreError, StoreErrorKind};

/// Why a lock was not granted, or did not last.
///
/// Every variant names the key as the caller wrote it, without the manager's namespace. No variant, and no
/// source of one, shows an owner token or a password.
///
/// With the features `axum`, `actix-web` and `tonic` it is also a response: 409 for [`Busy`](Self::Busy), 503
/// for [`Lost`](Self::Lost) and [`Store`](Self::Store), 500 for the others, or a gRPC status.
/// [`Problem`](crate::Problem) describes it, and [`problem`](Self::problem) changes it.
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// use distlock::{LockError, LockManager};
///
/// async fn fulfil(locks: &LockManager, order_id: u64) -> String {
///     let lock = locks.lock(format!("order:{order_id}"));
///     match lock.run(async { /* the work */ }).await {
///         Ok(()) => "fulfilled".to_owned(),
///         // Wait: it is being done elsewhere.
///         Err(LockError::Busy { .. }) => "in progress, try later".to_owned(),
///         // Stop, and find out what was done.
///         Err(LockError::Lost { reason, .. }) => format!("stopped: {reason}"),
///         // Give up for now: the store is down or not reachable.
///         Err(LockError::Store { source, .. }) => format!("not begun: {source}"),
///         // Correct the call or the set-up.
///         Err(error) => panic!("{error}"),
///     }
/// }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// let locks = LockManager::in_memory();
/// assert_eq!(fulfil(&locks, 42).await, "fulfilled");
/// let _held = locks.lock("order:42").acquire().await.unwrap();
/// assert_eq!(fulfil(&locks, 42).await, "in progress, try later");
/// # });
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another owner held the key until `wait` ran out.
    ///
    /// Usual cause: the work is being done elsewhere, as intended. Try later, set a longer `wait`, or answer
    /// "in progress".
    #[error("lock on {} is busy: held by {}{}, waited {}", Quoted(key), HeldBy(holder), Remaining(*remaining), Rounded(*waited))]
    #[non_exhaustive]
    Busy {
        /// The key.
        key: String,
        /// How long this call waited, measured from the call to this answer.
        waited: Duration,
        /// What the holder's lease had left when the store last answered. The holder may renew it. `None` if
        /// the lease has no expiry, or the store was not asked.
        remaining: Option<Duration>,
        /// The holder, as the store last told of it; `None` where it did not. Its label is shown by this
        /// error's message, and never by a response of the features below.
        holder: Option<Box<Holder>>,
    },

    /// The lease ended while the body ran. The body was stopped at its next await, or told by its guard.
    ///
    /// Usual causes: the server was unreachable for a whole ttl, the key was deleted, or the body blocked its
    /// thread. The body's effects up to then stand, and another owner may have begun: find out what was done
    /// before you repeat it, or let the resource check fencing tokens.
    #[error("lock on {} was lost: {reason}", Quoted(key))]
    #[non_exhaustive]
    Lost {
        /// The key.
        key: String,
        /// How the lease ended.
        reason: LostReason,
    },

    /// The store did not answer, refused, or gave an answer that makes no sense. Whether the key was free is
    /// not known.
    ///
    /// Usual cause: the server is down or not reachable from here. [`StoreError::kind`] says whether trying
    /// again may help.
    #[error("lock store failed{}: {source}", ForKey(key))]
    #[non_exhaustive]
    Store {
        /// The key; empty if the error came before any key, from
        /// [`LockManager::connect`](crate::LockManager::connect).
        key: String,
        /// What the store reported.
        source: StoreError,
    },

    /// The call chain that asks for the key holds it already, so it would wait for itself.
    ///
    /// Usual cause: a locked function calls another one with the same key. Split the inner one into a locked
    /// function and an unlocked one, and call the unlocked one.
    #[error(
        "lock on {} is already held by this call chain: it would wait for itself; call the part without the lock instead",
        Quoted(key)
    )]
    #[non_exhaustive]
    Reentrant {
        /// The key.
        key: String,
    },

    /// The key cannot be used. Nothing was sent.
    ///
    /// Usual cause: an argument that rendered to an empty or a very long text.
    #[error("invalid lock key {}: {reason}", Quoted(key))]
    #[non_exhaustive]
    InvalidKey {
        /// The key, or its beginning if it is too long.
        key: String,
        /// What is wrong with the key.
        reason: KeyFault,
    },

    /// A duration is out of range. Nothing was sent.
    ///
    /// Usual cause: a ttl below 10 ms, or `at_least` above the ttl. `reason` names the range.
    #[error("invalid {setting} {value:?} for the lock on {}: {reason}", Quoted(key))]
    #[non_exhaustive]
    InvalidDuration {
        /// The key.
        key: String,
        /// Which duration: `ttl`, `max_hold` or `at_least`.
        setting: Setting,
        /// The value that was refused.
        value: Duration,
        /// The range, and what to write instead.
        reason: String,
    },

    /// No manager was given and none is set.
    ///
    /// Usual causes: `main` does not call [`set_default`](crate::set_default), or the call runs in a task
    /// that was spawned outside [`with_manager`](crate::with_manager).
    #[error(
        "no lock manager for the lock on {}: call distlock::set_default(manager) at start-up, wrap the call in distlock::with_manager(manager, ..), or name one with `locks = ..`",
        Quoted(key)
    )]
    #[non_exhaustive]
    NoManager {
        /// The key.
        key: String,
    },

    /// The manager cannot work as it is configured.
    ///
    /// Usual causes: a URL that is not understood, a server that is not fit for locks, or no tokio runtime
    /// around the call. `reason` says what to write or set instead.
    #[error("lock configuration{}: {reason}", ForKey(key))]
    #[non_exhaustive]
    Config {
        /// The key; empty if the error came before any key.
        key: String,
        /// What is wrong, and what to write instead.
        reason: String,
    },
}

impl LockError {
    /// The key that the error is about, without the namespace; empty if the error came before any key.
    pub fn key(&self) -> &str {
        match self {
            Self::Busy { key, .. }
            | Self::Lost { key, .. }
            | Self::Store { key, .. }
            | Self::Reentrant { key }
            | Self::InvalidKey { key, .. }
            | Self::InvalidDuration { key, .. }
            | Self::NoManager { key }
            | Self::Config { key, .. } => key,
        }
    }
}

impl StoreError {
    /// The error of a call for this key; empty if there is no key yet.
    pub(crate) fn for_key(self, key: impl Into<String>) -> LockError {
        let key = key.into();
        match self.kind() {
            StoreErrorKind::Unfit => LockError::Config { key, reason: self.to_string() },
            _ => LockError::Store { key, source: self },
        }
    }
}

/// Lets a locked function return `std::io::Result`. The kind is `WouldBlock` for [`LockError::Busy`],
/// `Deadlock` for [`LockError::Reentrant`], `InvalidInput` for a key or a duration that is refused, and
/// `Other` for the rest. The `LockError` is the inner error.
impl From<LockError> for io::Error {
    fn from(error: LockError) -> Self {
        let kind = match &error {
            LockError::Busy { .. } => io::ErrorKind::WouldBlock,
            LockError::Reentrant { .. } => io::ErrorKind::Deadlock,
            LockError::InvalidKey { .. } | LockError::InvalidDuration { .. } => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// How a lease ended under its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LostReason {
    /// The lease's validity ran out before a renewal succeeded.
    ///
    /// Usual causes: the server was unreachable for most of the ttl, the body blocked its thread, or `renew =
    /// false` with a ttl shorter than the body. Raise the ttl, renew, or move blocking work to
    /// `spawn_blocking`.
    #[error("the lease ran out before it was renewed")]
    Expired,
    /// The store answered that the key is gone or another owner's.
    ///
    /// Usual causes: the key was deleted by hand, the server lost its data (a restart without persistence, a
    /// failover, an eviction), or the process was paused for longer than the ttl. Find out which: the server
    /// must keep its keys.
    #[error("the key was deleted or taken over on the server")]
    NotOwner,
    /// The lease was held for its whole `max_hold`, after which it is not renewed.
    ///
    /// Usual cause: the body hangs or is slower than expected. Raise `max_hold`, or find what the body waits
    /// for.
    #[error("it was held for its whole max_hold")]
    MaxHold,
    /// The manager, or the runtime that renewed the lease, was shut down.
    ///
    /// Usual cause: the program ends. Let bodies finish before you call
    /// [`shutdown`](crate::LockManager::shutdown).
    #[error("the lock manager or its runtime was shut down")]
    Shutdown,
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// The key has no characters, so every caller would share one lock.
    ///
    /// Usual cause: the key is an argument that was empty. Refuse the argument, or put fixed text before it.
    #[error("it is empty; every caller would share one lock")]
    Empty,
    /// The key has more than 4,096 bytes of UTF-8.
    ///
    /// Usual cause: a whole document or URL as the key. Use an id, or a hash of the long part.
    #[error(
        "it has {bytes} bytes, and at most {MAX_KEY_BYTES} are allowed; use an id or a hash of the long part"
    )]
    #[non_exhaustive]
    TooLong {
        /// The length of the key, in bytes.
        bytes: usize,
    },
}

/// A duration of a request. It displays as the name that the attribute and the request share: `ttl`,
/// `max_hold` or `at_least`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Setting {
    /// How long a lease lasts without renewal: 10 ms to 366 days.
    Ttl,
    /// How long a lease may be held, renewals included: above zero.
    MaxHold,
    /// How long a lease is kept even if the body ends earlier: at most the ttl.
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

/// Displays a key between backquotes, cut if it is long, with control characters escaped.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 200;
        f.write_str("`")?;
        for c in self.0.chars().take(SHOWN) {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        f.write_str(if self.0.chars().nth(SHOWN).is_some() { "..`" } else { "`" })
    }
}

/// Displays ` for the lock on ..`, or nothing if there is no key yet.
struct ForKey<'a>(&'a str);

impl fmt::Display for ForKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " for the lock on {}", Quoted(self.0)) }
    }
}

/// Displays the label of a holder.
struct HeldBy<'a>(&'a Option<Box<Holder>>);

impl fmt::Display for HeldBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.0.as_ref().and_then(|holder| holder.label.as_deref());
        f.write_str(label.unwrap_or("someone else"))
    }
}

/// Displays what is left of a lease, or nothing if that is not known.
struct Remaining(Option<Duration>);

impl fmt::Display for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(remaining) => write!(f, " for another {} unless renewed", Rounded(remaining)),
            None => Ok(()),
        }
    }
}

/// Displays a time that was measured, in whole milliseconds.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = Duration::from_micros(u64::from(self.0.subsec_micros()) + 500).as_millis();
        match (self.0.as_secs(), millis) {
            (0, millis) => write!(f, "{millis}ms"),
            (secs, millis) => {
                let millis = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
                write!(f, "{:?}", Duration::from_secs(secs).saturating_add(millis))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::OwnerToken;

    #[test]
    fn a_busy_lock_displays_its_times_in_whole_milliseconds() {
        let busy = |waited, remaining| {
            LockError::Busy { key: "k".to_owned(), waited, remaining, holder: None }.to_string()
        };
        assert_eq!(
            busy(Duration::from_nanos(3_082), Some(Duration::from_nanos(29_999_974_481))),
            "lock on `k` is busy: held by someone else for another 30s unless renewed, waited 0ms"
        );
        assert_eq!(
            busy(Duration::from_micros(2_000_499), Some(Duration::from_micros(250_500))),
            "lock on `k` is busy: held by someone else for another 251ms unless renewed, waited 2s"
        );
        assert_eq!(
            busy(Duration::from_micros(12_340_500), None),
            "lock on `k` is busy: held by someone else, waited 12.341s"
        );
        assert!(busy(Duration::MAX, None).ends_with('s'));
    }
    #[test]
    fn a_busy_lock_displays_its_holder_without_the_owner_token() {
        let holder = Box::new(Holder::new("k", &OwnerToken::random()));
        let label = holder.label.clone().unwrap();
        let (waited, remaining) = (Duration::ZERO, Some(Duration::from_secs(3)));
        let error = LockError::Busy { key: "k".to_owned(), waited, remaining, holder: Some(holder) };
        assert_eq!(
            error.to_string(),
            format!("lock on `k` is busy: held by {label} for another 3s unless renewed, waited 0ms")
        );
    }
}
