//! The connection that the caller gave.

use std::sync::Arc;

use redis::aio::ConnectionLike;

use super::{
    super::{
        check::Gate,
        errors::{classify, hung_up},
    },
    Connector,
    pool::Pool,
};
use crate::error::StoreError;

/// A connection that the caller made, whose timeouts, reconnecting and runtime are the caller's business.
pub(crate) struct CallerConnection<C> {
    pub(in super::super) connection: C,
    /// What the connection has to pass before its first use.
    pub(in super::super) gate: Arc<Gate>,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Connector for CallerConnection<C> {
    type Connection = C;
    type Origin = ();

    /// A pool or a reconnecting connection may send each command over another socket.
    const KEEPS_ORDER: bool = false;

    async fn connection(&self) -> Result<(C, ()), StoreError> {
        let mut connection = self.connection.clone();
        if !self.gate.is_open() {
            match self.gate.check(&mut connection).await {
                // A proxy may hang up on a question that it does not know. The connection may come back.
                Err(error) if hung_up(&error) => self.gate.ask_nothing(&mut connection).await,
                Err(error) => Err(error),
                Ok(checked) => checked.map(|_| Ok(()))?,
            }
            .map_err(|error| classify(error).before_sending())?;
        }
        Ok((connection, ()))
    }

    fn grant_embargo(&self, (): &()) -> Option<StoreError> {
        None
    }

    fn pool(&self, (): &()) -> Option<Arc<Pool>> {
        None
    }

    fn failed(&self, (): &(), _error: &StoreError) {}
}
