//! Where connections come from.
//!
//! A store asks a [`Connector`] five questions and knows nothing else of how its server is reached. Wait
//! queues need a connection of their own: see the room `wait`.

use std::sync::Arc;

use redis::{
    AsyncConnectionConfig, Client, RedisResult,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::runtime::Handle;

use self::pool::Pool;
use crate::{error::StoreError, seam};

pub(super) mod callers_own;
#[cfg(feature = "credentials")]
pub(super) mod credentials;
pub(super) mod endpoint;
mod lookup;
pub(super) mod once;
pub(super) mod pool;
pub(super) mod route;
#[cfg(feature = "sentinel")]
mod sentinel;
pub(super) mod single;

/// Gives the connections that a store sends its commands over.
pub trait Connector: Send + Sync + 'static {
    /// A connection. A clone shares its socket.
    type Connection: ConnectionLike + Send + 'static;
    /// Tells one connection from the one that replaces it.
    type Origin: Send + Sync + 'static;

    /// Whether the commands of one runtime go over one connection until that connection breaks.
    const KEEPS_ORDER: bool;

    /// The current runtime's connection.
    ///
    /// # Errors
    /// Only errors that say that nothing was sent.
    fn connection(&self)
    -> impl Future<Output = Result<(Self::Connection, Self::Origin), StoreError>> + Send;

    /// Why the server must not grant a lease over this connection yet: it may have lost its data.
    fn grant_embargo(&self, origin: &Self::Origin) -> Option<StoreError>;

    /// Connections to the same server for commands that may block; `None` if none are needed.
    fn pool(&self, origin: &Self::Origin) -> Option<Arc<Pool>>;

    /// Called for each failure over a connection, which may have to be given up although neither side has
    /// closed it.
    fn failed(&self, origin: &Self::Origin, error: &StoreError);
}

/// Makes a connection, whose driver is a task of the current runtime.
pub(super) async fn multiplexed(
    client: &Client,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let info = client.get_connection_info();
    let Some(connecting) = seam::stream_to(|| info.addr().to_string()) else {
        return client.get_multiplexed_async_connection_with_config(config).await;
    };
    let (stream, config) = (connecting.await?, config.clone());
    let made = MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await;
    let (connection, driver) = made?;
    seam::spawn(&Handle::current(), driver);
    Ok(connection)
}

/// The client without its introduction by `CLIENT SETINFO`, at which some proxies close the connection.
pub(super) fn without_introduction(client: &Client) -> RedisResult<Client> {
    let info = client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    Client::open(info.set_redis_settings(settings))
}
