//! One connection per tokio runtime to one server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, RedisResult, aio::MultiplexedConnection};
use tokio::{sync::OnceCell, time::Instant};

use super::{
    super::{
        check::Gate,
        errors::{breaks_connection, classify, hung_up},
        restart::LastStart,
    },
    Connector,
    endpoint::Endpoint,
    multiplexed,
    once::made,
    without_introduction,
};
use crate::{error::StoreError, runtime::PerRuntime};

/// One multiplexed connection per tokio runtime, made on first use and made again after it breaks.
///
/// A connection's driver is a task, which stands still when the runtime that it was spawned on is not driven,
/// and dies with that runtime. If runtimes shared a connection, each `#[tokio::test]` could break the locks
/// of the others.
pub struct PerRuntimeConnection {
    client: Client,
    config: AsyncConnectionConfig,
    /// The longest that making a connection may take.
    patience: Duration,
    connections: Arc<PerRuntime<Arc<OnceCell<Connection>>>>,
    /// How long the server grants nothing after its start; zero for no time.
    restart_delay: Duration,
    last_start: LastStart,
    gate: Arc<Gate>,
    /// Connections are made without `CLIENT SETINFO`, because the server or a proxy hangs up on it. Set when
    /// that turns out, never cleared.
    is_silent: AtomicBool,
}

/// A connection that was made.
#[derive(Clone)]
pub struct Connection {
    commands: MultiplexedConnection,
    /// When the server grants leases again; `None` without a restart delay.
    grants_from: Option<Instant>,
}

impl PerRuntimeConnection {
    pub(in super::super) fn new(
        Endpoint { client, .. }: Endpoint,
        config: AsyncConnectionConfig,
        patience: Duration,
        restart_delay: Duration,
        gate: Arc<Gate>,
    ) -> Self {
        let (connections, last_start, is_silent) = Default::default();
        Self { client, config, patience, connections, restart_delay, last_start, gate, is_silent }
    }

    async fn establish(&self) -> Result<Connection, StoreError> {
        let mut commands = self.connect_once_more_if_hung_up().await.map_err(classify)?;
        let info = match self.gate.check(&mut commands).await {
            // A proxy may hang up on a question that it does not know.
            Err(error) if hung_up(&error) => {
                commands = self.connect_once_more_if_hung_up().await.map_err(classify)?;
                self.gate.ask_nothing(&mut commands).await.map_err(classify)?;
                String::new()
            }
            checked => checked.map_err(classify)??,
        };
        let grants_from = |delay| self.last_start.grants_from(&info, delay, Instant::now());
        let grants_from = Some(self.restart_delay).filter(|delay| !delay.is_zero()).map(grants_from);
        Ok(Connection { commands, grants_from })
    }

    async fn connect_once_more_if_hung_up(&self) -> RedisResult<MultiplexedConnection> {
        if !self.is_silent.load(Ordering::Relaxed) {
            match multiplexed(&self.client, &self.config).await {
                Err(error) if hung_up(&error) => {}
                connected => return connected,
            }
        }
        let silent = without_introduction(&self.client)?;
        let connection = multiplexed(&silent, &self.config).await?;
        self.is_silent.store(true, Ordering::Relaxed);
        Ok(connection)
    }
}

impl Connector for PerRuntimeConnection {
    type Connection = MultiplexedConnection;
    type Origin = Arc<OnceCell<Connection>>;

    const KEEPS_ORDER: bool = true;

    async fn connection(&self) -> Result<(Self::Connection, Self::Origin), StoreError> {
        let cell = self.connections.get_or_make(|| Ok(Arc::default()))?;
        let connection = made(&cell, self.patience, || self.establish()).await?;
        Ok((connection.commands, cell))
    }

    fn grant_embargo(&self, origin: &Self::Origin) -> Option<Duration> {
        let remaining = origin.get()?.grants_from?.saturating_duration_since(Instant::now());
        Some(remaining).filter(|remaining| !remaining.is_zero())
    }

    /// Gives the connection up if it is of no use after the error: the next command makes a new one.
    ///
    /// That includes a connection over which no answer comes any more (a firewall may have dropped it without
    /// a word) and one whose server was demoted to a replica. If many commands fail with one connection, the
    /// first replaces it.
    fn failed(&self, origin: &Self::Origin, error: &StoreError) {
        if breaks_connection(error) {
            self.connections.replace_if(|cell| Arc::ptr_eq(cell, origin), Arc::default);
        }
    }
}
