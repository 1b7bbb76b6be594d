//! The store that a URL names.
//!
//! - `scheme` has the schemes, `parameters` what stands behind the `?`, and `duration` reads a duration.
//! - `server` has one server, and `sentinel` one that sentinels know.

#[cfg(feature = "redis")]
use std::{sync::Arc, time::Duration};

#[cfg(feature = "redis")]
use futures_util::future::join_all;
#[cfg(feature = "redis")]
use tokio::time::timeout;

use super::overrides::Overrides;
#[cfg(feature = "cluster")]
use crate::store::ClusterStore;
use crate::{error::LockError, store::MemoryStore};
#[cfg(feature = "redis")]
use crate::{
    error::StoreErrorKind,
    store::{QuorumStore, RedisStore, Store, redis::Role},
};

mod duration;
mod parameters;
mod scheme;
#[cfg(feature = "sentinel")]
mod sentinel;
mod server;

pub use duration::parse as parse_duration;
use parameters::Parameters;
pub(super) use scheme::KNOWN;
#[cfg(all(feature = "redis", not(all(feature = "sentinel", feature = "cluster"))))]
use scheme::needs_feature;
use scheme::{Kind, Scheme};
#[cfg(feature = "redis")]
pub(super) use server::of_client;
pub(super) use server::{Opened, Probe, Settings, config};
#[cfg(feature = "redis")]
use server::{endpoint, single};

/// A URL whose parts are known.
///
/// Messages name the URL's scheme only, and parameters whose name is known: the rest may hold a password.
pub(super) struct StoreUrl {
    scheme: Scheme,
    /// What stands between `://` and `?`.
    place: String,
    parameters: Parameters,
}

impl StoreUrl {
    /// # Errors
    /// [`LockError::Config`] for a scheme or a parameter that is not known, and for a character that ends a
    /// password.
    pub(super) fn parse(url: &str) -> Result<Self, LockError> {
        let (scheme, rest) = Scheme::of(url).map_err(config)?;
        if let Some((_, fragment)) = rest.split_once('#') {
            return Err(config(if fragment == "insecure" {
                "`#insecure` in the URL would accept the certificate of every server; give the server's CA by \
                 `.tls(..)`"
                    .to_owned()
            } else {
                "the URL has a `#`, which ends it; write it as `%23` in a password or a parameter".to_owned()
            }));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        if scheme.has_host() {
            let host_ends = rest.find(['/', '?']).unwrap_or(rest.len());
            if rest[host_ends..].contains('@') {
                return Err(config(
                    "the URL has an `@` behind a `/` or a `?`; in a password write `/` as `%2F` and `?` as \
                     `%3F`, and in a parameter write `@` as `%40`"
                        .to_owned(),
                ));
            }
        }
        let parameters = Parameters::parse(query, scheme).map_err(config)?;
        Ok(Self { scheme, place: place.to_owned(), parameters })
    }

    /// The settings in the URL's parameters.
    pub(super) fn overrides(&self) -> &Overrides {
        &self.parameters.overrides
    }

    /// Whether the URL names a quorum.
    pub(super) fn names_quorum(&self) -> bool {
        self.scheme.is_quorum()
    }

    /// Makes the store. It connects when it is first used.
    pub(super) fn make_store(self, settings: &Settings) -> Result<Opened, LockError> {
        let Self { scheme, place, parameters } = &self;
        #[cfg(feature = "tls")]
        if settings.tls.is_some() && !scheme.has_tls {
            return Err(config(format!(
                "`.tls(..)` was called, and `{}://` connects without TLS; write `rediss://`, `redlocks://`, \
                 `rediss-cluster://` or `rediss-sentinel://`",
                scheme.name
            )));
        }
        #[cfg(all(feature = "tls", feature = "sentinel"))]
        if settings.sentinel_tls.is_some() && !scheme.is_sentinel() {
            return Err(config(format!(
                "`.sentinel_tls(..)` was called, and `{}://` asks no sentinels; write `rediss-sentinel://`",
                scheme.name
            )));
        }
        match scheme.kind {
            Kind::Memory if place.is_empty() => Ok((Box::new(MemoryStore::new()), None)),
            Kind::Memory => Err(config(
                "`memory://` takes nothing but parameters after it: each manager made from it has a store of its own"
                    .to_owned(),
            )),
            #[cfg(feature = "redis")]
            Kind::Server => single(endpoint(*scheme, place, parameters, settings)?, settings),
            #[cfg(feature = "redis")]
            Kind::Socket if place.len() > 1 && place.starts_with('/') => {
                single(endpoint(*scheme, place, parameters, settings)?, settings)
            }
            #[cfg(feature = "redis")]
            Kind::Socket => Err(config(format!(
                "`{}://` takes the absolute path of a socket; write `unix:///run/redis/redis.sock`",
                scheme.name
            ))),
            #[cfg(feature = "redis")]
            Kind::Quorum => quorum(*scheme, place, parameters, settings),
            #[cfg(feature = "cluster")]
            Kind::Cluster => cluster(*scheme, place, parameters, settings),
            #[cfg(all(feature = "redis", not(feature = "cluster")))]
            Kind::Cluster => Err(config(needs_feature(scheme.name, "cluster"))),
            #[cfg(feature = "sentinel")]
            Kind::Sentinel => sentinel::sentinel(*scheme, place, parameters, settings),
            #[cfg(all(feature = "redis", not(feature = "sentinel")))]
            Kind::Sentinel => Err(config(needs_feature(scheme.name, "sentinel"))),
            #[cfg(not(feature = "redis"))]
            _ => {
                let _ = (settings, parameters);
                Err(config(format!(
                    "`{}://` needs the feature `redis`, which is on unless default features are off",
                    scheme.name
                )))
            }
        }
    }
}

/// The store over a connection that the caller made.
#[cfg(feature = "redis")]
pub(super) fn of_connection<C>(connection: C, settings: &Settings) -> Opened
where
    C: ::redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
{
    let store =
        Arc::new(RedisStore::from_connection(connection, &settings.namespace, settings.fence_lifetime));
    let probed = Arc::clone(&store);
    let probe = async move { probed.probe().await.map_err(|error| error.for_key("")) };
    (Box::new(store), Some(Box::pin(probe)))
}

/// A quorum of the servers in `[user:password@]host[:port],..[/db]`. Credentials and database are those of
/// all servers.
#[cfg(feature = "redis")]
fn quorum(
    scheme: Scheme,
    place: &str,
    parameters: &Parameters,
    settings: &Settings,
) -> Result<Opened, LockError> {
    let role = Role::QuorumNode { restart_delay: settings.restart_delay };
    let (credentials, hosts, database) = several(place, "quorum")?;
    let mut nodes: Vec<Arc<RedisStore>> = Vec::new();
    for host in hosts.split(',') {
        let place = format!("{credentials}{host}/{database}");
        let endpoint = endpoint(scheme, &place, parameters, settings)?;
        let node = RedisStore::at(endpoint, Some(&settings.namespace), settings.of(role))?;
        let name = node.address();
        if nodes.iter().any(|other| other.address() == name) {
            return Err(config(format!("the node `{name}` is named twice: it would count as two")));
        }
        nodes.push(Arc::new(node));
    }
    let named =
        nodes.iter().map(|node| (node.address().to_owned(), Box::new(Arc::clone(node)) as Box<dyn Store>));
    let store = Arc::new(QuorumStore::new(named)?);
    let probed = Arc::clone(&store);
    let ping = async move {
        let answer = probed.ping().await;
        check_that_nodes_are_fit(&nodes).await?;
        answer.map_err(|error| error.for_key(""))?;
        check_that_servers_differ(&nodes).await
    };
    Ok((Box::new(store), Some(Box::pin(ping))))
}

/// A cluster by the servers in `[user:password@]host[:port],..`. Credentials are those of all servers.
#[cfg(feature = "cluster")]
fn cluster(
    scheme: Scheme,
    place: &str,
    parameters: &Parameters,
    settings: &Settings,
) -> Result<Opened, LockError> {
    let (credentials, hosts, database) = several(place, "cluster")?;
    if !matches!(database, "" | "0") {
        let reason = format!("`{}://` takes no database: a cluster has one only; leave it out", scheme.name);
        return Err(config(reason));
    }
    let seeds =
        hosts.split(',').map(|host| endpoint(scheme, &format!("{credentials}{host}/"), parameters, settings));
    // The store gives each primary a role of its own.
    let store = ClusterStore::at(
        seeds.collect::<Result<_, _>>()?,
        Some(&settings.namespace),
        settings.of(Role::Single),
    )?;
    let store = Arc::new(store);
    let probed = Arc::clone(&store);
    let probe = async move { probed.probe().await.map_err(|error| error.for_key("")) };
    Ok((Box::new(store), Some(Box::pin(probe))))
}

/// The parts of `[user:password@]host[:port],..[/db]`: the credentials with their `@`, the hosts, the
/// database.
#[cfg(feature = "redis")]
fn several<'a>(place: &'a str, what: &str) -> Result<(&'a str, &'a str, &'a str), LockError> {
    let (credentials, hosts) = place.split_at(place.rfind('@').map_or(0, |at| at + 1));
    if credentials.matches('@').count() > 1 {
        return Err(config(format!(
            "the URL of a {what} has two `@`; write the credentials of all nodes once, before the first host, and an \
             `@` in a password as `%40`"
        )));
    }
    let (hosts, database) = hosts.split_once('/').unwrap_or((hosts, ""));
    Ok((credentials, hosts, database))
}

/// Fails if a node is not fit for locks. One that does not say so soon is not waited for.
#[cfg(feature = "redis")]
async fn check_that_nodes_are_fit(nodes: &[Arc<RedisStore>]) -> Result<(), LockError> {
    let probes = nodes.iter().map(|node| async { timeout(PATIENCE, node.probe()).await });
    for error in join_all(probes).await.into_iter().filter_map(|probe| probe.ok()?.err()) {
        if error.kind() == StoreErrorKind::Unfit {
            return Err(error.for_key(""));
        }
    }
    Ok(())
}

/// How long the nodes of a quorum have to answer questions that may stay open.
#[cfg(feature = "redis")]
const PATIENCE: Duration = Duration::from_millis(500);

/// Fails if two nodes are one server under two names, which would count as two. A server that does not say
/// who it is, or not soon, is not checked.
#[cfg(feature = "redis")]
async fn check_that_servers_differ(nodes: &[Arc<RedisStore>]) -> Result<(), LockError> {
    let run_ids = nodes.iter().map(|node| async { timeout(PATIENCE, node.run_id()).await.ok().flatten() });
    let run_ids = join_all(run_ids).await;
    for (at, run_id) in run_ids.iter().enumerate().filter(|(_, run_id)| run_id.is_some()) {
        if let Some(twin) = run_ids[..at].iter().position(|other| other == run_id) {
            let (one, other) = (nodes[twin].address(), nodes[at].address());
            return Err(config(format!(
                "the nodes `{one}` and `{other}` are one server under two names: it would count as two"
            )));
        }
    }
    Ok(())
}
