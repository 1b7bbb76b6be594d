//! How a manager is set up.

#[cfg(feature = "redis")]
use std::sync::Arc;
use std::{fmt, time::Duration};

#[cfg(feature = "redis")]
use crate::store::{
    QuorumStore, RedisStore,
    redis::{Role, Settings},
};
use crate::{
    error::LockError,
    key::Key,
    limits::{DEFAULT_CONNECT_TIMEOUT, DEFAULT_NAMESPACE, DEFAULT_RESPONSE_TIMEOUT, DEFAULT_TTL, check_ttl},
    manager::LockManager,
    store::{MemoryStore, Store},
};

/// Sets a [`LockManager`] up: a URL or a store, and what differs from the defaults.
#[must_use = "a builder makes a manager by `build` or `connect`"]
pub struct LockManagerBuilder {
    store: Option<StoreChoice>,
    namespace: String,
    ttl: Duration,
    response_timeout: Duration,
    connect_timeout: Duration,
    restart_delay: Option<Duration>,
}

enum StoreChoice {
    Url(String),
    Store(Box<dyn Store>),
}

impl LockManagerBuilder {
    pub(crate) fn new() -> Self {
        Self {
            store: None,
            namespace: DEFAULT_NAMESPACE.to_owned(),
            ttl: DEFAULT_TTL,
            response_timeout: DEFAULT_RESPONSE_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            restart_delay: None,
        }
    }

    /// Where the leases live, by one of the URLs that [`LockManager::connect`] lists.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.store = Some(StoreChoice::Url(url.into()));
        self
    }

    /// Where the leases live, by a store of your own, or a [`MemoryStore`] that several managers share.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(StoreChoice::Store(Box::new(store)));
        self
    }

    /// What keys are put into: with `lock`, the default, a lock on `order:42` is the Redis key `lock:order:42`. An empty one
    /// leaves keys as they are.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long a lease lasts without renewal where a request does not say: 10 ms to 366 days, default 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The longest that an answer of the server is waited for; default 1 s. For URLs.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// The longest that a connection may take to be made; default 1 s. For URLs.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// For how long after its start a node of a `redlock://` quorum grants nothing: one that came back without its data would help a second
    /// owner to a majority. Default: the manager's [`ttl`](Self::ttl). It must not be shorter than the longest ttl that any request
    /// to these nodes asks for. Zero turns it off: for nodes that keep every lease over a restart (`appendfsync always`).
    pub fn restart_delay(mut self, delay: Duration) -> Self {
        self.restart_delay = Some(delay);
        self
    }

    /// Makes the manager without asking the server, which need not be up: the first lock connects.
    ///
    /// # Errors
    /// [`LockError::Config`] for a missing or unknown URL, and for settings out of range.
    pub fn build(self) -> Result<LockManager, LockError> {
        Ok(self.assemble()?.0)
    }

    /// Makes the manager and asks the server once whether it answers.
    ///
    /// # Errors
    /// As [`build`](Self::build), and [`LockError::Store`] when the server does not answer.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn connect(self) -> Result<LockManager, LockError> {
        let (manager, probe) = self.assemble()?;
        if let Some(probe) = probe {
            probe.await.map_err(|error| error.for_key(""))?;
        }
        Ok(manager)
    }

    fn assemble(self) -> Result<(LockManager, Option<Probe>), LockError> {
        check_ttl(self.ttl).map_err(|reason| config(format!("ttl {:?}: {reason}", self.ttl)))?;
        Key::check_namespace(&self.namespace).map_err(config)?;
        let (store, probe) = match self.store {
            Some(StoreChoice::Store(store)) => (store, None),
            Some(StoreChoice::Url(url)) => {
                let restart_delay = self.restart_delay.unwrap_or(self.ttl);
                let timeouts = Timeouts { response: self.response_timeout, connect: self.connect_timeout };
                open(&url, timeouts, restart_delay)?
            }
            None => {
                return Err(config(format!(
                    "no store was named; call `.url(..)` with {KNOWN}, or `.store(..)`"
                )));
            }
        };
        Ok((LockManager::assemble(store, self.namespace, self.ttl), probe))
    }
}

impl fmt::Debug for LockManagerBuilder {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockManagerBuilder")
            .field("namespace", &self.namespace)
            .field("ttl", &self.ttl)
            .field("response_timeout", &self.response_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("restart_delay", &self.restart_delay)
            .finish_non_exhaustive()
    }
}

/// Asks a server whether it answers.
type Probe = crate::store::StoreFuture<()>;

const KNOWN: &str =
    "`redis://host[:port][/db]`, `rediss://host[:port][/db]`, `redlock://host[:port],..[/db]` or `memory://`";

#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "memory has none"))]
struct Timeouts {
    response: Duration,
    connect: Duration,
}

#[cfg(feature = "redis")]
impl Timeouts {
    fn settings(self, role: Role) -> Settings {
        Settings { response_timeout: self.response, connect_timeout: self.connect, role }
    }
}

/// The store that a URL names. Messages name its scheme only: the rest may hold a password.
fn open(
    url: &str,
    timeouts: Timeouts,
    restart_delay: Duration,
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
            let store = Arc::new(RedisStore::with_settings(url, timeouts.settings(Role::Single))?);
            let probe = Arc::clone(&store);
            Ok((Box::new(store), Some(Box::pin(async move { probe.ping().await }))))
        }
        #[cfg(feature = "redis")]
        "redlock" => {
            let store = Arc::new(quorum(rest, timeouts, restart_delay)?);
            let probe = Arc::clone(&store);
            Ok((Box::new(store), Some(Box::pin(async move { probe.ping().await }))))
        }
        #[cfg(not(feature = "redis"))]
        "redis" | "rediss" | "redlock" => {
            let _ = (timeouts, restart_delay);
            Err(config(format!(
                "`{scheme}://` needs the feature `redis`, which is on unless default features are off"
            )))
        }
        _ => Err(config(format!("the URL's scheme `{scheme}` is not known; write {KNOWN}"))),
    }
}

/// The nodes of `[user:password@]host[:port],..[/db]`, which share what they do not name each.
#[cfg(feature = "redis")]
fn quorum(rest: &str, timeouts: Timeouts, restart_delay: Duration) -> Result<QuorumStore, LockError> {
    let (credentials, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
    let at = if credentials.is_empty() { "" } else { "@" };
    let (hosts, database) = hosts.split_once('/').unwrap_or((hosts, ""));
    let mut nodes: Vec<(String, Box<dyn Store>)> = Vec::new();
    for host in hosts.split(',') {
        let url = format!("redis://{credentials}{at}{host}/{database}");
        let node = RedisStore::with_settings(&url, timeouts.settings(Role::QuorumNode { restart_delay }))?;
        let name = node.address();
        if nodes.iter().any(|(other, _)| *other == name) {
            return Err(config(format!("the node `{name}` is named twice: it would count as two")));
        }
        nodes.push((name, Box::new(node)));
    }
    QuorumStore::new(nodes)
}

fn config(reason: String) -> LockError {
    LockError::Config { key: String::new(), reason }
}
