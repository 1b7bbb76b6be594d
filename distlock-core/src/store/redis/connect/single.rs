//! One connection per tokio runtime to one server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::{sync::OnceCell, time::Instant};

use super::{
    super::{
        check::Gate,
        embargo::{GrantsFrom, Reason},
        errors::{breaks_connection, classify, hung_up},
        restart::LastStart,
    },
    Connector, multiplexed,
    once::made,
    pool::Pool,
    route::{Route, SwitchNotice, Way},
    without_introduction,
};
use crate::{error::StoreError, runtime::PerRuntime};

/// One multiplexed connection per tokio runtime, made on first use and made again after it breaks.
///
/// A connection's driver is a task, which stands still when the runtime that it was spawned on is not driven,
/// and dies with that runtime. If runtimes shared a connection, each `#[tokio::test]` could break the locks
/// of the others.
pub struct PerRuntimeConnection {
    route: Route,
    /// The longest that making a connection may take.
    patience: Duration,
    connections: Arc<PerRuntime<Arc<OnceCell<Connection>>>>,
    /// How long the server grants nothing after its start; zero for no time.
    restart_delay: Duration,
    last_start: LastStart,
    gate: Arc<Gate>,
    /// Whether each connection has a pool beside it.
    has_pool: bool,
    /// Connections are made without `CLIENT SETINFO`, because the server or a proxy hangs up on it. Set when
    /// that turns out, never cleared.
    is_silent: AtomicBool,
}

/// A connection that was made.
#[derive(Clone)]
pub struct Connection {
    commands: MultiplexedConnection,
    /// When the server grants leases again; `None` without a delay.
    grants_from: Option<GrantsFrom>,
    /// Connections to the same server for commands that may block.
    pool: Option<Arc<Pool>>,
    _notice: SwitchNotice,
}

impl PerRuntimeConnection {
    pub(in super::super) fn new(
        route: Route,
        patience: Duration,
        restart_delay: Duration,
        gate: Arc<Gate>,
        has_pool: bool,
    ) -> Self {
        let (connections, last_start, is_silent) = Default::default();
        Self { route, patience, connections, restart_delay, last_start, gate, has_pool, is_silent }
    }

    async fn establish(&self, cell: &Arc<OnceCell<Connection>>) -> Result<Connection, StoreError> {
        let way = self.route.way().await?;
        let mut commands = self.connect_once_more_if_hung_up(&way).await.map_err(classify)?;
        let info = match self.gate.check(&mut commands).await {
            // A proxy may hang up on a question that it does not know.
            Err(error) if hung_up(&error) => {
                commands = self.connect_once_more_if_hung_up(&way).await.map_err(classify)?;
                self.gate.ask_nothing(&mut commands).await.map_err(classify)?;
                String::new()
            }
            checked => checked.map_err(classify)??,
        };
        let grants_from = |delay| self.last_start.grants_from(&info, delay, Instant::now());
        let grants_from = Some(self.restart_delay).filter(|delay| !delay.is_zero()).map(grants_from);
        let grants_from = match grants_from {
            Some(at) => Some(GrantsFrom { at, reason: Reason::Restart }),
            None => self.route.grants_from(&mut commands).await?,
        };
        let (connections, cell) = (Arc::downgrade(&self.connections), Arc::downgrade(cell));
        let notice = way.on_switch(move || {
            if let (Some(connections), Some(stale)) = (connections.upgrade(), cell.upgrade()) {
                connections.replace_if(|cell| Arc::ptr_eq(cell, &stale), Arc::default);
            }
        });
        let pool = self.has_pool.then(|| Arc::new(Pool::new(way)));
        Ok(Connection { commands, grants_from, pool, _notice: notice })
    }

    async fn connect_once_more_if_hung_up(&self, way: &Way) -> RedisResult<MultiplexedConnection> {
        if !self.is_silent.load(Ordering::Relaxed) {
            match multiplexed(&way.client, &way.config).await {
                Err(error) if hung_up(&error) => {}
                connected => return connected,
            }
        }
        let silent = without_introduction(&way.client)?;
        let connection = multiplexed(&silent, &way.config).await?;
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
        let connection = made(&cell, self.patience, || self.establish(&cell)).await?;
        Ok((connection.commands, cell))
    }

    fn grant_embargo(&self, origin: &Self::Origin) -> Option<StoreError> {
        origin.get()?.grants_from?.refusal(Instant::now())
    }

    fn pool(&self, origin: &Self::Origin) -> Option<Arc<Pool>> {
        origin.get()?.pool.clone()
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
