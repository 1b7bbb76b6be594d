//! One server, and the settings of a store's servers.

#[cfg(feature = "redis")]
use std::sync::Arc;
use std::{pin::Pin, time::Duration};

#[cfg(feature = "redis")]
use super::{parameters::Parameters, scheme::Scheme};
#[cfg(feature = "tls")]
use crate::store::redis::Tls;
#[cfg(feature = "redis")]
use crate::store::{
    RedisStore,
    redis::{self, Endpoint, Login, Role},
};
use crate::{error::LockError, store::Store, token::Label};

/// Asks a server whether it answers, and whether it is set up as it must be.
pub(in super::super) type Probe = Pin<Box<dyn Future<Output = Result<(), LockError>> + Send>>;

/// A store, and how to ask it whether it answers.
pub(in super::super) type Opened = (Box<dyn Store>, Option<Probe>);

/// How a store's servers are reached and used, from the builder and from the URL.
#[derive(Clone)]
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "memory has no server"))]
pub(in super::super) struct Settings {
    pub(in super::super) namespace: String,
    pub(in super::super) response_timeout: Duration,
    pub(in super::super) connect_timeout: Duration,
    pub(in super::super) fence_lifetime: Duration,
    pub(in super::super) restart_delay: Duration,
    pub(in super::super) failover_delay: Duration,
    pub(in super::super) replicas: u32,
    pub(in super::super) label: Option<Label>,
    #[cfg(feature = "tls")]
    pub(in super::super) tls: Option<Tls>,
    #[cfg(all(feature = "tls", feature = "sentinel"))]
    pub(in super::super) sentinel_tls: Option<Tls>,
    #[cfg(feature = "credentials")]
    pub(in super::super) credentials: Option<redis::Credentials>,
}

#[cfg(feature = "redis")]
impl Settings {
    /// The settings of a server in this role.
    pub(super) fn of(&self, role: Role) -> redis::Settings {
        let Self {
            response_timeout, connect_timeout, fence_lifetime, failover_delay, replicas, label, ..
        } = *self;
        // They are for one server: a quorum has its own delay.
        let (failover_delay, replicas) = match role {
            Role::Single => (failover_delay, replicas),
            Role::QuorumNode { .. } => (Duration::ZERO, 0),
            #[cfg(feature = "cluster")]
            Role::ClusterNode { .. } => (Duration::ZERO, 0),
        };
        redis::Settings {
            response_timeout,
            connect_timeout,
            fence_lifetime,
            failover_delay,
            replicas,
            role,
            label,
        }
    }
}

/// One server.
#[cfg(feature = "redis")]
pub(super) fn single(endpoint: Endpoint, settings: &Settings) -> Result<Opened, LockError> {
    let store = Arc::new(RedisStore::at(endpoint, Some(&settings.namespace), settings.of(Role::Single))?);
    let probed = Arc::clone(&store);
    let probe = async move { probed.probe().await.map_err(|error| error.for_key("")) };
    Ok((Box::new(store), Some(Box::pin(probe))))
}

/// The server of a client that the caller made.
#[cfg(feature = "redis")]
pub(in super::super) fn of_client(client: ::redis::Client, settings: &Settings) -> Result<Opened, LockError> {
    single(with_credentials(Endpoint::of(client), settings), settings)
}

/// The server, with the provider's user name and password if there is one.
#[cfg(feature = "redis")]
fn with_credentials(endpoint: Endpoint, settings: &Settings) -> Endpoint {
    #[cfg(feature = "credentials")]
    if let Some(credentials) = &settings.credentials {
        return endpoint.with_credentials(credentials.clone());
    }
    let _ = settings;
    endpoint
}

/// How a server is reached that stands in `[user:password@]host[:port][/db]` or has this socket.
#[cfg(feature = "redis")]
pub(super) fn endpoint(
    scheme: Scheme,
    place: &str,
    parameters: &Parameters,
    settings: &Settings,
) -> Result<Endpoint, LockError> {
    let url = format!("{}://{place}", scheme.of_one_server());
    let Parameters { db, user, pass, protocol, .. } = parameters;
    let login = Login { db: *db, user: user.as_deref(), pass: pass.as_deref(), protocol: *protocol };
    let endpoint = Endpoint::from_url(&url, &login)?;
    #[cfg(feature = "tls")]
    let endpoint = match &settings.tls {
        Some(tls) => endpoint.with_tls(tls)?,
        None => endpoint,
    };
    Ok(with_credentials(endpoint, settings))
}

/// An error in the set-up, which came before any key.
pub(in super::super) fn config(reason: String) -> LockError {
    LockError::Config { key: String::new(), reason }
}
