//! Connections that are used by one task at a time, because a command may block them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::{RedisResult, aio::MultiplexedConnection};
use tokio::sync::Semaphore;

use super::{
    super::errors::{breaks_connection, classify},
    route::Way,
};
use crate::error::StoreError;

/// The most connections of one pool. Tasks beyond that wait for their turn.
const MOST: usize = 16;

/// Connections to the server that one connection for commands leads to. It ends with that one.
pub struct Pool {
    way: Way,
    /// Connections that nobody uses at the moment.
    idle: Mutex<Vec<MultiplexedConnection>>,
    /// Permits for the connections that are in use.
    turns: Semaphore,
}

impl Pool {
    pub(super) fn new(way: Way) -> Self {
        Self { way, idle: Mutex::default(), turns: Semaphore::new(MOST) }
    }

    /// Runs commands over one connection that nothing else uses meanwhile.
    ///
    /// A connection whose task is dropped half-way, or fails, is closed.
    pub(in super::super) async fn with_connection<T, F>(
        &self,
        commands: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        // A semaphore that is never closed.
        let _turn = self.turns.acquire().await;
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.new_connection().await.map_err(|error| classify(error).before_sending())?,
        };
        let answer = commands(connection.clone()).await;
        if !answer.as_ref().is_err_and(breaks_connection) {
            self.idle().push(connection);
        }
        answer
    }

    async fn new_connection(&self) -> RedisResult<MultiplexedConnection> {
        self.way.client.get_multiplexed_async_connection_with_config(&self.way.config).await
    }

    fn idle(&self) -> MutexGuard<'_, Vec<MultiplexedConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
