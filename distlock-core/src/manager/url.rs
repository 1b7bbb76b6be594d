//! The store that a URL names.

#[cfg(feature = "redis")]
use std::sync::Arc;
use std::{pin::Pin, time::Duration};

#[cfg(feature = "redis")]
use crate::error::StoreErrorKind;
#[cfg(feature = "redis")]
use crate::store::{
    QuorumStore, RedisStore,
    redis::{self, Role},
};
#[cfg(feature = "redis")]
use futures_util::future::join_all;
#[cfg(feature = "redis")]
use tokio::time::timeout;

use crate::{
    error::LockError,
    store::{MemoryStore, Store},
};

/// Asks a server whether it answers, and whether it is set up as it must be.
pub(super) type Probe = Pin<Box<dyn Future<Output = Result<(), LockError>> + Send>>;

/// The URLs that are known, for messages.
pub(super) const KNOWN: &str =
    "`redis://host[:port][/db]`, `rediss://host[:port][/db]`, `redlock://host[:port],..[/db]` or `memory://`";

/// What a URL does not say.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "memory has no server"))]
pub(super) struct Settings {
    pub(super) response_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) fence_lifetime: Duration,
    pub(super) restart_delay: Duration,
}

#[cfg(feature = "redis")]
impl Settings {
    /// The settings of a server in this role.
    fn of(self, role: Role) -> redis::Settings {
        let Self { response_timeout, connect_timeout, fence_lifetime, .. } = self;
        redis::Settings { response_timeout, connect_timeout, fence_lifetime, role }
    }
}

/// Whether a URL names a quorum.
pub(super) fn names_quorum(url: &str) -> bool {
    url.starts_with("redlock")
}

/// The store that a URL names, and how to ask it whether it answers.
///
/// Messages name the URL's scheme only: the rest may hold a password.
pub(super) fn store_of(
    url: &str,
    namespace: &str,
    settings: Settings,
) -> Result<(Box<dyn Store>, Option<Probe>), LockError> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(config(format!("the URL has no scheme; write {KNOWN}")));
    };
    match scheme {
        "memory" if rest.is_empty() => Ok((Box::new(MemoryStore::new()), None)),
        "memory" => Err(config(
            "`memory://` takes nothing after it: each manager made from it has a store of its own".to_owned(),
        )),
        "rediss" if !cfg!(feature = "tls") => Err(config(
            "`rediss://` needs the feature `tls`: distlock = { version = \"..\", features = [\"tls\"] }"
                .to_owned(),
        )),
        #[cfg(feature = "redis")]
        "redis" | "rediss" => {
            let store = Arc::new(RedisStore::with_settings(url, Some(namespace), settings.of(Role::Single))?);
            let probed = Arc::clone(&store);
            let probe = async move { probed.probe().await.map_err(|error| error.for_key("")) };
            Ok((Box::new(store), Some(Box::pin(probe))))
        }
        #[cfg(feature = "redis")]
        "redlock" => {
            let nodes = quorum_nodes(rest, namespace, settings)?;
            let named = nodes
                .iter()
                .map(|node| (node.address().to_owned(), Box::new(Arc::clone(node)) as Box<dyn Store>));
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
        #[cfg(not(feature = "redis"))]
        "redis" | "rediss" | "redlock" => {
            let _ = (settings, namespace);
            Err(config(format!(
                "`{scheme}://` needs the feature `redis`, which is on unless default features are off"
            )))
        }
        _ if scheme.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char)) => {
            Err(config(format!("the URL's scheme `{scheme}` is not known; write {KNOWN}")))
        }
        // A password may stand in front of a second `://`.
        _ => Err(config(format!("the URL does not begin with a scheme; write {KNOWN}"))),
    }
}

/// The nodes of a quorum in `[user:password@]host[:port],..[/db]`. Credentials and database are those of all
/// nodes.
#[cfg(feature = "redis")]
fn quorum_nodes(rest: &str, namespace: &str, settings: Settings) -> Result<Vec<Arc<RedisStore>>, LockError> {
    let Settings { restart_delay, .. } = settings;
    let (credentials, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
    let at = if credentials.is_empty() { "" } else { "@" };
    let (hosts, database) = hosts.split_once('/').unwrap_or((hosts, ""));
    let mut nodes: Vec<Arc<RedisStore>> = Vec::new();
    for host in hosts.split(',') {
        let url = format!("redis://{credentials}{at}{host}/{database}");
        let node = RedisStore::with_settings(
            &url,
            Some(namespace),
            settings.of(Role::QuorumNode { restart_delay }),
        )?;
        let name = node.address();
        if nodes.iter().any(|other| other.address() == name) {
            return Err(config(format!("the node `{name}` is named twice: it would count as two")));
        }
        nodes.push(Arc::new(node));
    }
    Ok(nodes)
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

/// An error in the set-up, which came before any key.
pub(super) fn config(reason: String) -> LockError {
    LockError::Config { key: String::new(), reason }
}
