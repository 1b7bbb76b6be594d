//! The connection that the caller gave.

use std::sync::Arc;

use redis::aio::ConnectionLike;

use super::{Connector, pool::Pool};
use crate::error::StoreError;

/// A connection that the caller made, whose timeouts, reconnecting and runtime are the caller's business.
pub(crate) struct CallerConnection<C>(pub(crate) C);

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Connector for CallerConnection<C> {
    type Connection = C;
    type Origin = ();

    /// A pool or a reconnecting connection may send each command over another socket.
    const KEEPS_ORDER: bool = false;

    async fn connection(&self) -> Result<(C, ()), StoreError> {
        Ok((self.0.clone(), ()))
    }

    fn grant_embargo(&self, (): &()) -> Option<StoreError> {
        None
    }

    fn pool(&self, (): &()) -> Option<Arc<Pool>> {
        None
    }

    fn failed(&self, (): &(), _error: &StoreError) {}
}
