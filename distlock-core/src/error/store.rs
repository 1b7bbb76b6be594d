//! What a store reports when an operation failed.

use std::{error::Error as StdError, sync::Arc};

use super::LockError;

/// What a store reports when it cannot say "granted" or "held".
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct StoreError {
    kind: StoreErrorKind,
    detail: String,
    #[source]
    source: Option<Arc<dyn StdError + Send + Sync>>,
    /// An earlier sending of the same command ended without an answer.
    outcome_unknown_before: bool,
}

/// What a store error means for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// No connection could be made: the command was never sent.
    Unreachable,
    /// The connection broke: the command may or may not have run.
    Disconnected,
    /// No answer came within the response timeout: the command may or may not have run, or may yet run.
    TimedOut,
    /// The server cannot serve just now (loading, failover under way, out of memory).
    Unavailable,
    /// The server is a replica: a failover has demoted it, or the URL names the wrong server. The next command goes over a new connection,
    /// made to what the host's name means by then.
    ReadOnly,
    /// The server refused for a reason that waiting does not mend (credentials, permissions, a command it lacks).
    Refused,
    /// The key holds something that is no lock, of another Redis type.
    WrongType,
    /// The answer has a shape that no lock command gives.
    Nonsense,
    /// The grant came so late that nothing of its ttl was left.
    TooLate,
    /// So many nodes of a quorum failed that those that answered decide nothing.
    NoQuorum,
    /// The manager was [shut down](crate::LockManager::shutdown).
    ShutDown,
}

impl StoreError {
    /// An error of a kind, with a sentence for people that holds no secrets.
    pub fn new(kind: StoreErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), source: None, outcome_unknown_before: false }
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(StoreErrorKind::TimedOut, "the server did not answer in time")
    }

    pub(crate) fn shut_down() -> Self {
        Self::new(StoreErrorKind::ShutDown, "the lock manager was shut down")
    }

    /// Adds the error that caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The error of a connection over which nothing was sent yet.
    #[cfg(feature = "redis")]
    pub(crate) fn before_sending(mut self) -> Self {
        if matches!(self.kind, StoreErrorKind::Disconnected | StoreErrorKind::TimedOut) {
            self.kind = StoreErrorKind::Unreachable;
        }
        self
    }

    /// Adds which server said it.
    #[cfg(feature = "redis")]
    pub(crate) fn at(mut self, address: &str) -> Self {
        self.detail = format!("{address}: {}", self.detail);
        self
    }

    /// What it means for the caller.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The same error for a command that was sent before, and whose outcome is unknown since then.
    pub(crate) fn after_unknown_outcome(mut self) -> Self {
        self.outcome_unknown_before = true;
        self
    }

    /// Whether the command may have run although it failed.
    pub(crate) fn outcome_unknown(&self) -> bool {
        use StoreErrorKind::{Disconnected, Nonsense, TimedOut};
        self.outcome_unknown_before || matches!(self.kind, Disconnected | TimedOut | Nonsense)
    }

    /// Whether the same command may succeed a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            StoreErrorKind::Unreachable
                | StoreErrorKind::Disconnected
                | StoreErrorKind::TimedOut
                | StoreErrorKind::Unavailable
                | StoreErrorKind::ReadOnly
                | StoreErrorKind::NoQuorum
        )
    }

    pub(crate) fn for_key(self, key: impl Into<String>) -> LockError {
        LockError::Store { key: key.into(), source: self }
    }
}
