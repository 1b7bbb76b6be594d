//! The error of a store's operation.

use std::{error::Error as StdError, sync::Arc, time::Duration};

/// The error of a store's operation. It never stands for "busy" or "not the owner".
///
/// A store of your own makes one by [`new`](Self::new), and adds the cause by
/// [`with_source`](Self::with_source).
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// use std::io;
///
/// use distlock::{StoreError, StoreErrorKind};
///
/// let source = io::Error::from(io::ErrorKind::ConnectionRefused);
/// let error = StoreError::new(StoreErrorKind::Unreachable, "no connection").with_source(source);
/// assert!(error.is_transient() && !error.outcome_unknown());
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct StoreError {
    kind: StoreErrorKind,
    detail: String,
    #[source]
    source: Option<Arc<dyn StdError + Send + Sync>>,
    /// Whether an earlier sending of the same command ended without an answer. Set by whatever sends it
    /// again.
    outcome_unknown_before: bool,
    /// For how long a call that waits bears an unbroken run of such errors, if that is longer than its ttl.
    /// Set by a store that knows how long the cause may last.
    borne_for: Duration,
}

/// What a store error means for the caller.
///
/// A call that waits tries again by itself after an error that may pass: `Unreachable`, `Disconnected`,
/// `TimedOut`, `Unavailable`, `ReadOnly`, `NotReplicated` and `NoQuorum`. It does so for one ttl at the most,
/// for three minutes on a cluster and where sentinels say where the server is, and for as long as a
/// `failover_delay` lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// No connection could be made. The command was not sent.
    ///
    /// Usual causes: the server is down, or its host name or port is wrong. Check the URL; try again later.
    Unreachable,
    /// The connection broke. The command may have been executed.
    ///
    /// Usual causes: the server was restarted, or something between closes idle connections. Try again.
    Disconnected,
    /// No answer came within the response timeout. The command may have been executed, or may yet be.
    ///
    /// Usual causes: the server or the network is overloaded or hangs. Try again later; raise the response
    /// timeout if answers are slow as a rule.
    TimedOut,
    /// The server cannot serve at the moment. Nothing was executed.
    ///
    /// Usual causes: it is loading its data, a failover is under way, a slot of a cluster is moving or has no
    /// server, its memory is full, or its `restart_delay` is not over. Try again later.
    Unavailable,
    /// The server is a replica, which accepts no writes. Nothing was executed. The next command is sent over
    /// a new connection, to the address that the host's name has then.
    ///
    /// Usual causes: a failover has demoted the server, or the URL names a replica. Try again; if it lasts,
    /// name the primary in the URL.
    ReadOnly,
    /// Too few replicas have the lease: see [`replicas`](crate::LockManagerBuilder::replicas). A grant was
    /// given back. A renewal does not count.
    ///
    /// Usual causes: a replica is down, or lags behind. Try again later; set `replicas` to a number that is
    /// there when one of them is down.
    NotReplicated,
    /// The server refused for a reason that waiting does not mend. Nothing was executed.
    ///
    /// Usual causes: wrong credentials, a missing permission, or a command that the server lacks. Change the
    /// set-up as the message says.
    Refused,
    /// The server cannot keep locks as it is set up. The store has found that out before it sent anything.
    /// The call ends with [`LockError::Config`](crate::LockError::Config).
    ///
    /// Usual causes: the server is a node of a cluster, a Sentinel or too old, or it forbids a command that a
    /// release needs. Change the set-up as the message says.
    Unfit,
    /// The key holds a value that is not a lock, of another Redis type. Nothing was executed.
    ///
    /// Usual cause: the application keeps a list or a hash under the same name. Choose another key or
    /// namespace.
    WrongType,
    /// The answer has a shape that no lock command gives. The command may have been executed.
    ///
    /// Usual causes: the URL names something other than a Redis server, or a proxy changes answers. Check the
    /// URL.
    Nonsense,
    /// The grant arrived when its ttl was already over.
    ///
    /// Usual causes: a ttl that is too short for the network, or a process or server that was paused. Raise
    /// the ttl.
    TooLate,
    /// So many nodes of a quorum failed that the answers of the others do not decide.
    ///
    /// Usual cause: half of the nodes or more are down or not reachable. The message says what each one
    /// reported.
    NoQuorum,
    /// The manager was [shut down](crate::LockManager::shutdown), so nothing was sent.
    ///
    /// Usual cause: the program ends. Make a new manager if it does not.
    ShutDown,
}

impl StoreError {
    /// Makes an error of a kind, with a message of lower case and without a full stop, which must not contain
    /// secrets.
    pub fn new(kind: StoreErrorKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            source: None,
            outcome_unknown_before: false,
            borne_for: Duration::ZERO,
        }
    }

    pub(crate) fn timed_out() -> Self {
        Self::new(StoreErrorKind::TimedOut, "the server did not answer in time")
    }

    pub(crate) fn panicked() -> Self {
        Self::new(StoreErrorKind::Nonsense, "the store panicked")
    }

    pub(crate) fn shut_down() -> Self {
        Self::new(StoreErrorKind::ShutDown, "the lock manager was shut down")
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same error for a connection over which nothing was sent yet.
    #[cfg(feature = "redis")]
    pub(crate) fn before_sending(mut self) -> Self {
        if matches!(self.kind, StoreErrorKind::Disconnected | StoreErrorKind::TimedOut) {
            self.kind = StoreErrorKind::Unreachable;
        }
        self
    }

    /// The same error, which a call that waits bears for as long, or for one ttl if that is longer.
    #[cfg(feature = "redis")]
    pub(crate) fn borne_for(mut self, time: Duration) -> Self {
        self.borne_for = self.borne_for.max(time);
        self
    }

    /// Adds the address of the server that the error came from.
    #[cfg(feature = "redis")]
    pub(crate) fn at(mut self, address: &str) -> Self {
        self.detail = format!("{address}: {}", self.detail);
        self
    }

    /// For how long a call with this ttl that waits bears an unbroken run of such errors.
    pub(crate) fn is_borne_for(&self, ttl: Duration) -> Duration {
        if self.is_transient() { self.borne_for.max(ttl) } else { Duration::ZERO }
    }

    /// The error that caused this one, if it is of this type.
    #[cfg(feature = "cluster")]
    pub(crate) fn cause<E: StdError + 'static>(&self) -> Option<&E> {
        self.source.as_deref()?.downcast_ref()
    }

    /// What the error means for the caller.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The same error for a command of which an earlier sending ended without an answer.
    pub(crate) fn after_unknown_outcome(mut self) -> Self {
        self.outcome_unknown_before = true;
        self
    }

    /// Whether the command may have been executed although it failed.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        use StoreErrorKind::{Disconnected, Nonsense, TimedOut};
        self.outcome_unknown_before || matches!(self.kind, Disconnected | TimedOut | Nonsense)
    }

    /// Whether the same command may succeed a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use StoreErrorKind::{
            Disconnected, NoQuorum, NotReplicated, ReadOnly, TimedOut, Unavailable, Unreachable,
        };
        matches!(
            self.kind,
            Unreachable | Disconnected | TimedOut | Unavailable | ReadOnly | NotReplicated | NoQuorum
        )
    }
}
