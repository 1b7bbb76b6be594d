//! Where connections come from: one per runtime that asks, or the one that the caller gave.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ProtocolVersion, RedisError,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout},
};

use super::{
    errors::classify,
    restart::LastStart,
    wait::channel::{DirectHandOver, WaitChannel},
};
use crate::{
    error::{StoreError, StoreErrorKind},
    key::Key,
    runtime::PerRuntime,
    store::NextWaiter,
    token::OwnerToken,
};

/// Gives connections. A clone of one shares its socket.
pub trait Connector: Send + Sync + 'static {
    type Connection: ConnectionLike + Send + 'static;
    /// What tells one connection from the next.
    type Origin: Send + Sync + 'static;

    /// A runtime's commands all go over one connection, until that breaks.
    const KEEPS_ORDER: bool = false;

    /// # Errors
    /// None that leaves it open whether something was sent.
    fn connection(&self)
    -> impl Future<Output = Result<(Self::Connection, Self::Origin), StoreError>> + Send;

    /// Where this runtime's waiters stand in line; `None` where that is not possible.
    fn line(&self) -> Option<Arc<WaitChannel>> {
        None
    }

    /// Listens for an owner that a release in this process is going to bring along; false where that is not possible.
    fn register_waiter(&self, _key: &Key, _owner: &OwnerToken) -> bool {
        false
    }

    /// A waiter that a release of the key is to bring along; `None` when it does not register_waiter.
    fn offer(&self, _key: &Key, _next: &NextWaiter) -> Option<DirectHandOver> {
        None
    }

    /// Hears that an owner is being released: it waits no more.
    fn leaves(&self, _owner: &OwnerToken) {}

    /// Hears that the release has ended.
    fn left(&self, _owner: &OwnerToken) {}

    /// Hears that the server has no lines.
    fn lacks_lines(&self, _error: &StoreError) {}

    /// How long the server is to grant nothing over this connection yet, because it may have come back without its data.
    fn grant_embargo(&self, _origin: &Self::Origin) -> Option<Duration> {
        None
    }

    /// Hears of each failure over a connection, which may have to be given up although nobody has closed it.
    fn failed(&self, _origin: &Self::Origin, _error: &StoreError) {}
}

/// One multiplexed connection per tokio runtime, made on first use, made again when it breaks.
///
/// Per runtime, because a connection's driver is a task: it stands still when the runtime that it was spawned on is not
/// driven, and dies with it. Sharing one connection would let each `#[tokio::test]` break the others' locks.
pub struct PerRuntimeConnection {
    client: Client,
    config: AsyncConnectionConfig,
    /// The longest that a connection may take to be ready.
    patience: Duration,
    connections: Arc<PerRuntime<Arc<OnceCell<Connection>>>>,
    /// How long a server grants nothing after its start.
    restart_delay: Duration,
    start: LastStart,
    lines: Arc<PerRuntime<Arc<WaitChannel>>>,
    /// Whether the server was found to have no lines.
    lacks_lines: AtomicBool,
}

/// Commands that wait to be written to a connection. With redis-rs's 50, tasks queue for room where many lock at once, and are woken once more.
const COMMANDS_AT_ONCE: usize = 1024;

/// A connection that was made.
#[derive(Clone)]
pub struct Connection {
    commands: MultiplexedConnection,
    /// When the server grants leases again.
    grants_from: Option<Instant>,
}

impl PerRuntimeConnection {
    pub(crate) fn new(
        client: Client,
        response_timeout: Duration,
        connect_timeout: Duration,
        restart_delay: Duration,
    ) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(response_timeout))
            .set_connection_timeout(Some(connect_timeout))
            .set_pipeline_buffer_size(COMMANDS_AT_ONCE);
        Self {
            client,
            config,
            patience: connect_timeout,
            connections: Arc::default(),
            restart_delay,
            start: LastStart::default(),
            lines: Arc::default(),
            lacks_lines: AtomicBool::new(false),
        }
    }

    async fn connect(&self) -> Result<Connection, RedisError> {
        let mut commands = self.client.get_multiplexed_async_connection_with_config(&self.config).await?;
        let grants_from = if self.restart_delay.is_zero() {
            None
        } else {
            let info: String = redis::cmd("INFO").arg("server").query_async(&mut commands).await?;
            Some(self.start.grants_from(&info, self.restart_delay, Instant::now()))
        };
        Ok(Connection { commands, grants_from })
    }

    /// Host and port, for messages: no user name, no password.
    pub(super) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }
}

impl Connector for PerRuntimeConnection {
    type Connection = MultiplexedConnection;
    type Origin = Arc<OnceCell<Connection>>;

    const KEEPS_ORDER: bool = true;

    async fn connection(&self) -> Result<(Self::Connection, Self::Origin), StoreError> {
        let cell = self.connections.get_or_make(|| Ok(Arc::default()))?;
        let connection = made(&cell, self.patience, || self.connect()).await?;
        Ok((connection.commands, cell))
    }

    fn grant_embargo(&self, origin: &Self::Origin) -> Option<Duration> {
        let rest = origin.get()?.grants_from?.saturating_duration_since(Instant::now());
        Some(rest).filter(|rest| !rest.is_zero())
    }

    fn line(&self) -> Option<Arc<WaitChannel>> {
        if self.lacks_lines.load(Ordering::Relaxed) {
            return None;
        }
        let make = || {
            // Messages beside answers are RESP3.
            let info = self.client.get_connection_info().clone();
            let resp3 = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            let client = Client::open(info.set_redis_settings(resp3)).map_err(classify)?;
            Ok(WaitChannel::new(client, self.config.clone(), self.patience))
        };
        self.lines.get_or_make(make).ok()
    }

    fn register_waiter(&self, key: &Key, owner: &OwnerToken) -> bool {
        self.line().is_some_and(|line| line.register_waiter(key, owner))
    }

    fn offer(&self, key: &Key, next: &NextWaiter) -> Option<DirectHandOver> {
        self.lines.find_map(|line| line.offer(key, next))
    }

    fn leaves(&self, owner: &OwnerToken) {
        self.lines.for_each(|line| line.leaves(owner));
    }

    fn left(&self, owner: &OwnerToken) {
        self.lines.for_each(|line| line.left(owner));
    }

    fn lacks_lines(&self, error: &StoreError) {
        if !self.lacks_lines.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "no lines on this server: waiting for a lock is polling");
        }
    }

    /// The next command makes a new connection. Also when nothing comes over the old one any more (a firewall has dropped it without a
    /// word), and when its server was demoted to a replica. Of all the commands that failed with a connection, one replaces it.
    fn failed(&self, origin: &Self::Origin, error: &StoreError) {
        if is_fatal(error) {
            self.connections.replace_if(|cell| Arc::ptr_eq(cell, origin), Arc::default);
        }
    }
}

/// Whether a connection is of no use after an error over it.
pub(super) fn is_fatal(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Disconnected | StoreErrorKind::TimedOut | StoreErrorKind::ReadOnly)
}

/// What a cell holds, made by whoever comes first. The others wait for that one, but no longer than an attempt may take: a queue of those
/// who each try in vain would hold the last one up for long.
pub(super) async fn made<T: Clone, F: Future<Output = Result<T, RedisError>>>(
    cell: &OnceCell<T>,
    patience: Duration,
    make: impl FnOnce() -> F,
) -> Result<T, StoreError> {
    if let Some(value) = cell.get() {
        return Ok(value.clone());
    }
    // Boxed, so that those who find it made do not carry its weight.
    let making = Box::pin(timeout(patience, cell.get_or_try_init(make)));
    let Ok(made) = making.await else {
        let detail = format!("no connection could be made within {patience:?}");
        return Err(StoreError::new(StoreErrorKind::Unreachable, detail));
    };
    made.cloned().map_err(|error| classify(error).before_sending())
}

/// A connection that the caller made: its timeouts, its reconnecting, and the runtime that drives it are the caller's.
pub(crate) struct CallerConnection<C>(pub(crate) C);

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Connector for CallerConnection<C> {
    type Connection = C;
    type Origin = ();

    async fn connection(&self) -> Result<(C, ()), StoreError> {
        Ok((self.0.clone(), ()))
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
