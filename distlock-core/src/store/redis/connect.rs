//! Where connections come from: one per runtime that asks, or the one that the caller gave.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Client, ProtocolVersion,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};

use super::{failure::classify, line::Line};
use crate::{
    error::{StoreError, StoreErrorKind},
    lease::OwnerToken,
    per_runtime::PerRuntime,
};

/// Gives connections. A clone of one shares its socket.
pub trait Connect: Send + Sync + 'static {
    type Connection: ConnectionLike + Send + 'static;

    fn connection(&self) -> Result<Self::Connection, StoreError>;

    /// Where this runtime's waiters stand in line; `None` where that is not possible.
    fn line(&self) -> Option<Arc<Line>> {
        None
    }

    /// Hears that an owner is being released: it waits no more.
    fn leaves(&self, _owner: &OwnerToken) {}

    /// Hears that the release has ended.
    fn left(&self, _owner: &OwnerToken) {}

    /// Hears that the server has no lines.
    fn lacks_lines(&self, _error: &StoreError) {}

    /// Hears of each failure: a connection may have to be given up although nobody has closed it.
    fn failed(&self, _error: &StoreError) {}
}

/// One multiplexed connection per tokio runtime, made on first use, made again when it breaks.
///
/// Per runtime, because a connection's driver is a task: it stands still when the runtime that it was spawned on is not
/// driven, and dies with it. Sharing one connection would let each `#[tokio::test]` break the others' locks.
pub struct PerRuntimeConnection {
    client: Client,
    config: ConnectionManagerConfig,
    response_timeout: Duration,
    connections: Arc<PerRuntime<Connection>>,
    lines: Arc<PerRuntime<Arc<Line>>>,
    /// Whether the server was found to have no lines.
    lacks_lines: AtomicBool,
    connect_timeout: Duration,
}

#[derive(Clone)]
struct Connection {
    manager: ConnectionManager,
    made: Instant,
}

impl PerRuntimeConnection {
    pub(crate) fn new(client: Client, response_timeout: Duration, connect_timeout: Duration) -> Self {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(response_timeout))
            .set_connection_timeout(Some(connect_timeout))
            // Whether to try again is decided where the caller's deadline is known.
            .set_number_of_retries(0);
        Self {
            client,
            config,
            response_timeout,
            connections: Arc::default(),
            lines: Arc::default(),
            lacks_lines: AtomicBool::new(false),
            connect_timeout,
        }
    }

    /// Host and port, for messages: no user name, no password.
    pub(super) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    fn make(&self) -> Result<Connection, StoreError> {
        let manager = ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone());
        Ok(Connection { manager: manager.map_err(classify)?, made: Instant::now() })
    }
}

impl Connect for PerRuntimeConnection {
    type Connection = ConnectionManager;

    fn connection(&self) -> Result<ConnectionManager, StoreError> {
        Ok(self.connections.get_or_make(|| self.make())?.manager)
    }

    fn line(&self) -> Option<Arc<Line>> {
        if self.lacks_lines.load(Ordering::Relaxed) {
            return None;
        }
        let make = || {
            // Messages beside answers are RESP3.
            let info = self.client.get_connection_info().clone();
            let resp3 = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            let client = Client::open(info.set_redis_settings(resp3)).map_err(classify)?;
            let config = AsyncConnectionConfig::new()
                .set_response_timeout(Some(self.response_timeout))
                .set_connection_timeout(Some(self.connect_timeout));
            Ok(Line::new(client, config))
        };
        self.lines.get_or_make(make).ok()
    }

    fn leaves(&self, owner: &OwnerToken) {
        self.lines.for_each(|line| line.leaves(owner));
    }

    fn left(&self, owner: &OwnerToken) {
        self.lines.for_each(|line| line.leave(owner));
    }

    fn lacks_lines(&self, error: &StoreError) {
        if !self.lacks_lines.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "no lines on this server: waiting for a lock is polling");
        }
    }

    /// redis-rs keeps a connection that is open, also when nothing comes over it any more (a firewall has dropped it without a word), and when
    /// its server was demoted to a replica. No oftener than once in a response timeout: of all the commands that failed with a
    /// connection, one replaces it.
    fn failed(&self, error: &StoreError) {
        if matches!(error.kind(), StoreErrorKind::TimedOut | StoreErrorKind::ReadOnly) {
            let is_old = |connection: &Connection| connection.made.elapsed() >= self.response_timeout;
            self.connections.replace_if(is_old, || self.make());
        }
    }
}

/// A connection that the caller made: its timeouts, its reconnecting, and the runtime that drives it are the caller's.
pub(crate) struct Given<C>(pub(crate) C);

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Connect for Given<C> {
    type Connection = C;

    fn connection(&self) -> Result<C, StoreError> {
        Ok(self.0.clone())
    }
}

/// Gives rustls its cryptography (ring) unless the program has chosen one: without any, rustls panics at the first `rediss://` connection.
#[cfg(feature = "tls")]
pub(super) fn ensure_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else's choice in between is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
