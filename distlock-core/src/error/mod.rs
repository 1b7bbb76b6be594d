//! What can go wrong, split by what the caller does next: wait, give up, fix the call, stop the work.

use std::{fmt, io, time::Duration};

use crate::limits::MAX_KEY_BYTES;

mod store;

pub use store::{StoreError, StoreErrorKind};

/// Why a lock was not granted, or did not last.
///
/// Every variant names the key as the caller wrote it, without the manager's namespace. No variant, and no
/// source of one, shows an owner token or a password.
///
/// With the features `axum` and `actix-web` it is a response: 409 for [`Busy`](Self::Busy), 503 for
/// [`Lost`](Self::Lost) and [`Store`](Self::Store), 500 for the rest.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody else held the key until `wait` ran out. Usual cause: just that; try later, or answer "in progress".
    #[error("lock on {} is busy: held by someone else{}, waited {waited:?}", Quoted(key), Remaining(*remaining))]
    #[non_exhaustive]
    Busy {
        /// The key.
        key: String,
        /// How long this call waited, from the call to this answer.
        waited: Duration,
        /// What the holder's lease had left when it was last seen; `None` where it has no expiry or was not seen.
        remaining: Option<Duration>,
    },

    /// The lease ended while the body ran: the body was stopped at its next await. Usual causes: the server was
    /// unreachable for a whole ttl, the key was deleted, or the body blocked its thread.
    #[error("lock on {} was lost: {reason}", Quoted(key))]
    #[non_exhaustive]
    Lost {
        /// The key.
        key: String,
        /// How the lease ended.
        reason: LostReason,
    },

    /// The store did not answer, refused, or answered nonsense. Whether the key was free is not known.
    #[error("lock store failed{}: {source}", ForKey(key))]
    #[non_exhaustive]
    Store {
        /// The key; empty where the error came before any key, from [`LockManager::connect`](crate::LockManager::connect).
        key: String,
        /// What the store said.
        source: StoreError,
    },

    /// The call chain that asks for the key holds it already, so that waiting would never end. Usual cause: a
    /// locked function that calls another one with the same key. Split the inner one: a locked front, an unlocked shared.
    #[error(
        "lock on {} is already held by this call chain: it would wait for itself; call the part without the lock instead",
        Quoted(key)
    )]
    #[non_exhaustive]
    Reentrant {
        /// The key.
        key: String,
    },

    /// The key cannot be used. Usual cause: an argument that rendered to nothing.
    #[error("invalid lock key {}: {reason}", Quoted(key))]
    #[non_exhaustive]
    InvalidKey {
        /// The key, or its beginning where it is too long.
        key: String,
        /// What is wrong with it.
        reason: KeyFault,
    },

    /// A duration is outside what can be kept. Refused before anything was sent.
    #[error("invalid {setting} {value:?} for the lock on {}: {reason}", Quoted(key))]
    #[non_exhaustive]
    InvalidDuration {
        /// The key.
        key: String,
        /// Which duration: `ttl`, `max_hold`, `at_least`.
        setting: Setting,
        /// What it was.
        value: Duration,
        /// The range, and what to write instead.
        reason: String,
    },

    /// No manager was given and none was set. Usual cause: [`set_default`](crate::set_default) was not called in `main`, or the
    /// call runs in a task spawned outside [`with_manager`](crate::with_manager).
    #[error(
        "no lock manager for the lock on {}: call distlock::set_default(manager) at start-up, wrap the call in distlock::with_manager(manager, ..), or name one with `locks = ..`",
        Quoted(key)
    )]
    #[non_exhaustive]
    NoManager {
        /// The key.
        key: String,
    },

    /// The manager cannot work as it is set up. Usual cause: a URL that is not understood, or no tokio runtime around the call.
    #[error("lock configuration{}: {reason}", ForKey(key))]
    #[non_exhaustive]
    Config {
        /// The key; empty where the error came before any key.
        key: String,
        /// What is wrong, and what to write instead.
        reason: String,
    },
}

impl LockError {
    /// The key the error is about, without the namespace; empty for an error that came before any key.
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

/// So that `std::io::Result` is a return type of locked functions.
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
    /// Its validity ran out before a renewal succeeded, or it was not to be renewed.
    #[error("the lease ran out before it was renewed")]
    Expired,
    /// The store says that the key is gone or somebody else's.
    #[error("the key was deleted or taken over on the server")]
    NotOwner,
    /// `max_hold` was reached.
    #[error("it was held for its whole max_hold")]
    MaxHold,
    /// The manager, or the runtime that kept the lease alive, was shut down.
    #[error("the lock manager or its runtime was shut down")]
    Shutdown,
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// It has no characters: everybody would share one lock.
    #[error("it is empty; every caller would share one lock")]
    Empty,
    /// It is longer than 4,096 bytes.
    #[error(
        "it has {0} bytes, and at most {MAX_KEY_BYTES} are allowed; use an id or a hash of the long part"
    )]
    TooLong(usize),
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

/// A key between backquotes, cut where it is long and with control characters escaped.
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

/// ` for the lock on ..`, or nothing where there is no key yet.
struct ForKey<'a>(&'a str);

impl fmt::Display for ForKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " for the lock on {}", Quoted(self.0)) }
    }
}

struct Remaining(Option<Duration>);

impl fmt::Display for Remaining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(left) => write!(f, " for another {left:?} unless renewed"),
            None => Ok(()),
        }
    }
}
