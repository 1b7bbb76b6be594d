//! How a manager is set up: the constructors, and the builder behind them.

use std::{fmt, time::Duration};

use tokio::runtime::Handle;

#[cfg(feature = "redis")]
use super::url::{of_client, of_connection};
use super::{
    handle::LockManager,
    overrides::Overrides,
    url::{KNOWN, Opened, Probe, Settings, StoreUrl, config},
};
use crate::{
    error::LockError,
    key::Key,
    limits::{
        DEFAULT_CONNECT_TIMEOUT, DEFAULT_FENCE_LIFETIME, DEFAULT_NAMESPACE, DEFAULT_RESPONSE_TIMEOUT,
        DEFAULT_RESTART_DELAY, DEFAULT_TTL, check_fence_lifetime, check_restart_delay, check_ttl,
    },
    store::{MemoryStore, QuorumStore, Store},
    token::Label,
};

impl LockManager {
    /// Connects to the store that a URL names, and asks it once whether it answers and can keep locks:
    ///
    /// * `redis://[user:password@]host[:port][/db]`: one Redis server; the port is 6379 unless given.
    /// * `redlock://[user:password@]host[:port],host[:port],..[/db]`: a quorum of independent servers, best
    ///   three or five; see [`QuorumStore`]. A server that was started less than 60 s ago does not grant yet,
    ///   and no ttl is longer than that: see [`restart_delay`](LockManagerBuilder::restart_delay).
    /// * `unix:///path` or `redis+unix:///path`: one server at a Unix socket.
    /// * `memory://`: this process's memory, which excludes no other process.
    ///
    /// `valkey://` is another name for `redis://`. With the feature `tls`, `rediss://`, `valkeys://` and
    /// `redlocks://` do the same over TLS.
    ///
    /// Settings of the [builder](LockManagerBuilder) may follow as parameters:
    /// `redis://host/?namespace=shop&ttl=10s&response_timeout=500ms`. They are `namespace`, `ttl`,
    /// `response_timeout`, `owner`, and with servers `connect_timeout`, `fence_lifetime` and, on a quorum,
    /// `restart_delay`. A duration is written as in the attribute: `30` for seconds, `500ms`, `1m30s`. Beside
    /// them, `db`, `user` and `pass` say what could stand before the `?`, and `protocol` is `resp2` or
    /// `resp3`; connections for waiting always ask for RESP3. A parameter that is not known is refused. In a
    /// user name, a password or a value, a character with a meaning of its own in URLs is percent-encoded.
    ///
    /// For what a URL cannot say, or for a server that need not be up yet, use [`builder`](Self::builder).
    ///
    /// # Errors
    /// - [`LockError::Config`] for a URL that is not understood, without showing its password, and for a
    ///   server that is not fit for locks: a node of a cluster, a Sentinel, a replica, a version before Redis
    ///   6.2 or Valkey 7.2, or one that forbids a command without which a lock could not be given back.
    /// - [`LockError::Store`] if the server does not answer within a second for the connection and a second
    ///   for the answer.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::connect("memory://").await?; // or "redis://127.0.0.1/"
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, LockError> {
        Self::builder().url(url.as_ref()).connect().await
    }

    /// Sets a manager up piece by piece.
    pub fn builder() -> LockManagerBuilder {
        LockManagerBuilder {
            choice: None,
            overrides: Overrides::default(),
            #[cfg(feature = "tls")]
            tls: None,
            runtime: None,
        }
    }

    /// A manager on a fresh in-memory store, for tests, examples and programs of one process. It excludes no
    /// other process.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let sum = manager.lock("report:7").run(async { 1 + 1 }).await?;
    /// assert_eq!(sum, 2);
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn in_memory() -> Self {
        Self::with_defaults(Box::new(MemoryStore::new()))
    }

    /// A manager on a quorum of stores of your own, in place of a `redlock://` URL: see [`QuorumStore`].
    ///
    /// A node that was started a short time ago, perhaps without its data, must not grant. The stores see to
    /// that themselves: this manager knows of no restart delay, and no ttl is too long for it.
    ///
    /// Messages call the stores `node 1` and so on. For names, and for settings, give a [`QuorumStore`] to
    /// the [`builder`](Self::builder).
    ///
    /// # Errors
    /// [`LockError::Config`] for no node, or more than 64.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use distlock::{LockManager, MemoryStore};
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let nodes = [MemoryStore::new(), MemoryStore::new(), MemoryStore::new()];
    /// let manager = LockManager::quorum(nodes)?;
    /// let guard = manager.lock("order:42").acquire().await?;
    /// assert!(guard.is_held());
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn quorum(nodes: impl IntoIterator<Item = impl Store>) -> Result<Self, LockError> {
        let name = |(at, store)| (format!("node {}", at + 1), Box::new(store) as Box<dyn Store>);
        let store = QuorumStore::new(nodes.into_iter().enumerate().map(name))?;
        Ok(Self::with_defaults(Box::new(store)))
    }

    /// A manager over a connection of your own, with the default settings: see
    /// [`connection`](LockManagerBuilder::connection), which also takes settings.
    #[cfg(feature = "redis")]
    pub fn from_connection<C>(connection: C) -> Self
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::with_defaults(Box::new(crate::store::RedisStore::from_connection(
            connection,
            DEFAULT_FENCE_LIFETIME,
        )))
    }

    pub(crate) fn with_defaults(store: Box<dyn Store>) -> Self {
        Self::over(
            store,
            DEFAULT_NAMESPACE.to_owned(),
            DEFAULT_TTL,
            DEFAULT_RESPONSE_TIMEOUT,
            None,
            None,
            None,
        )
    }
}

/// Sets a [`LockManager`] up: a URL or a store, and what differs from the defaults.
///
/// A setting may stand in the URL or here. If both say something else, the manager is not made, so that
/// neither is ignored.
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), distlock::LockError> {
/// let manager = distlock::LockManager::builder()
///     .url("memory://") // or "redis://127.0.0.1/"
///     .namespace("shop")
///     .ttl(Duration::from_secs(10))
///     .build()?;
/// # Ok(()) }
/// ```
#[must_use = "a builder makes a manager by `build` or `connect`"]
pub struct LockManagerBuilder {
    choice: Option<StoreChoice>,
    overrides: Overrides,
    #[cfg(feature = "tls")]
    tls: Option<crate::store::Tls>,
    runtime: Option<Handle>,
}

/// Opens a store when all settings are known.
type Opener = Box<dyn FnOnce(&Settings) -> Result<Opened, LockError> + Send + Sync>;

enum StoreChoice {
    Url(String),
    Opener(Opener),
}

impl LockManagerBuilder {
    /// Sets where the leases live, by one of the URLs that [`LockManager::connect`] lists, with
    /// its parameters.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.choice = Some(StoreChoice::Url(url.into()));
        self
    }

    /// Sets where the leases live, by a store of your own, or a [`MemoryStore`] that several managers share.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use distlock::{LockManager, MemoryStore};
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// // As two processes on one server.
    /// let store = MemoryStore::new();
    /// let one = LockManager::builder().store(store.clone()).build()?;
    /// let other = LockManager::builder().store(store).build()?;
    /// let _held = one.lock("order:42").acquire().await?;
    /// assert!(other.lock("order:42").try_acquire().await?.is_none());
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn store(mut self, store: impl Store) -> Self {
        self.choice = Some(StoreChoice::Opener(Box::new(move |_| Ok((Box::new(store), None)))));
        self
    }

    /// Sets where the leases live, by a client of redis-rs 1. The manager makes connections of its own by it,
    /// among them those for waiting, with the timeouts of this builder.
    #[cfg(feature = "redis")]
    pub fn client(mut self, client: redis::Client) -> Self {
        self.choice = Some(StoreChoice::Opener(Box::new(move |settings| of_client(client, settings))));
        self
    }

    /// Sets where the leases live, by a connection of redis-rs 1: a `ConnectionManager`, a
    /// `MultiplexedConnection` or a `ClusterConnection`.
    ///
    /// Its timeouts and its reconnecting are yours, and so is keeping the runtime that drives it alive.
    /// Prefer a `redis::aio::ConnectionManager` (feature `connection-manager` of redis-rs): a bare
    /// multiplexed connection does not come back after a break. The connection cannot be subscribed, so
    /// waiters poll. A [`client`](Self::client) has none of these limits.
    #[cfg(feature = "redis")]
    pub fn connection<C>(mut self, connection: C) -> Self
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    {
        let open = move |settings: &Settings| Ok(of_connection(connection, settings));
        self.choice = Some(StoreChoice::Opener(Box::new(open)));
        self
    }

    /// Sets certificates of your own for a URL with TLS: `rediss://`, `valkeys://` or `redlocks://`. A
    /// [`client`](Self::client) brings its own.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::store::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the namespace of the keys. The default is `lock`: a lock on `order:42` is then the Redis key
    /// `lock:order:42`. An empty namespace leaves keys as they are. Braces in
    /// it must be balanced and not empty: they are a Redis Cluster hash tag.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.overrides.namespace = Some(namespace.into());
        self
    }

    /// Sets how long a lease lasts without renewal if a request does not say: 10 ms to 366 days. The default
    /// is 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.overrides.ttl = Some(ttl);
        self
    }

    /// Sets how long to wait at most for the server's answer, above zero. The default is 1 s. For URLs and
    /// clients; a
    /// [`shutdown`](LockManager::shutdown) waits for as long for other runtimes, whatever the store.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.overrides.response_timeout = Some(timeout);
        self
    }

    /// Sets how long making a connection may take at most, above zero. The default is 1 s. For URLs and
    /// clients.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.overrides.connect_timeout = Some(timeout);
        self
    }

    /// Sets how long a Redis server keeps a key's fencing counter after the key's last grant: 1 to 366 days.
    /// The default is 2 days. For Redis.
    ///
    /// Once the counter is gone, the server's clock keeps tokens rising. So the lifetime is the time for
    /// which tokens rise even if that clock is stepped back. A counter takes about 150 bytes of the server's
    /// memory. All managers of the same locks should set the same.
    pub fn fence_lifetime(mut self, lifetime: Duration) -> Self {
        self.overrides.fence_lifetime = Some(lifetime);
        self
    }

    /// Sets for how long after its start a node of a `redlock://` quorum does not grant: a node that came
    /// back without its data would help a second owner to a majority. The default is 60 s.
    ///
    /// The delay belongs to the quorum, so all managers of one quorum must set the same. No ttl may be above
    /// it, because the lease would outlast the delay: a longer one is
    /// [`InvalidDuration`](LockError::InvalidDuration) before anything is sent. Zero turns the delay off, and
    /// the limit with it, for nodes that keep every lease over a restart (`appendfsync always`).
    ///
    /// A server tells by its own clock how long it has been up. A node that boots with a wrong clock and is
    /// stepped forward afterwards passes for one that has been up for long, unless the manager knew it before
    /// the restart.
    pub fn restart_delay(mut self, delay: Duration) -> Self {
        self.overrides.restart_delay = Some(delay);
        self
    }

    /// Sets the label of this manager's owners, by which people tell who holds a lock: 1 to 64 printable
    /// ASCII characters without spaces. The default is the host and the process id, such as `web-1:4242`.
    ///
    /// It is what [`inspect`](LockManager::inspect) and [`LockError::Busy`] show. On a server it is a part of
    /// the lock's value and the name of the connections (`CLIENT LIST`), for everyone who may read them.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use distlock::{LockError, LockManager};
    ///
    /// # async fn example() -> Result<(), LockError> {
    /// let manager = LockManager::builder().url("memory://").owner("pod-7").build()?;
    /// let _held = manager.lock("order:42").acquire().await?;
    /// let refused = manager.lock("order:42").acquire().await.unwrap_err().to_string();
    /// assert!(refused.contains("is busy: held by pod-7"));
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn owner(mut self, label: impl Into<String>) -> Self {
        self.overrides.owner = Some(label.into());
        self
    }

    /// Sets the runtime on which [`blocking_acquire`](crate::LockRequest::blocking_acquire) acquires and its
    /// lease is renewed. It must be driven for as long as the lease is held.
    ///
    /// The default is the runtime that is current when the manager is made. If there is none, or if it has
    /// ended or does not begin within 200 ms because nobody drives it, the acquire runs on a background
    /// thread of this crate, which the first such call starts. Asynchronous calls run where they are awaited.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Makes the manager without asking the server, which need not be up: the first lock connects, and is
    /// refused by [`LockError::Config`] if the server is not fit for locks.
    ///
    /// # Errors
    /// [`LockError::Config`] for a missing or unknown URL, for a namespace with unbalanced or empty braces,
    /// for an owner that is not a label, and for settings out of range.
    pub fn build(self) -> Result<LockManager, LockError> {
        Ok(self.assemble()?.0)
    }

    /// Makes the manager and asks the server once whether it answers and can keep locks. What weakens a
    /// promise is logged as a warning; [`diagnose`](LockManager::diagnose) tells more.
    ///
    /// # Errors
    /// As [`build`](Self::build), [`LockError::Store`] if the server does not answer, and
    /// [`LockError::Config`] if a server is not fit for locks, or if two nodes of a quorum are one server
    /// under two names.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn connect(self) -> Result<LockManager, LockError> {
        let (manager, probe) = self.assemble()?;
        if let Some(probe) = probe {
            probe.await?;
        }
        Ok(manager)
    }

    fn assemble(self) -> Result<(LockManager, Option<Probe>), LockError> {
        let (in_url, is_quorum, open): (_, _, Opener) = match self.choice {
            Some(StoreChoice::Url(url)) => {
                let url = StoreUrl::parse(&url)?;
                (url.overrides().clone(), url.names_quorum(), Box::new(|settings| url.make_store(settings)))
            }
            #[cfg(feature = "tls")]
            Some(StoreChoice::Opener(_)) if self.tls.is_some() => {
                return Err(config("`.tls(..)` is for a URL with TLS, such as `rediss://host`".to_owned()));
            }
            Some(StoreChoice::Opener(open)) => (Overrides::default(), false, open),
            None => {
                let reason = format!("no store was named; call `.url(..)` with {KNOWN}, or `.store(..)`");
                return Err(config(reason));
            }
        };
        let chosen = self.overrides.merged_with(in_url).map_err(config)?;
        let ttl = chosen.ttl.unwrap_or(DEFAULT_TTL);
        check_ttl(ttl).map_err(|reason| config(format!("ttl {ttl:?}: {reason}")))?;
        let namespace = chosen.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        Key::check_namespace(&namespace).map_err(config)?;
        let label = chosen.owner.as_deref().map(Label::new).transpose().map_err(config)?;
        let settings = Settings {
            namespace: namespace.clone(),
            response_timeout: chosen.response_timeout.unwrap_or(DEFAULT_RESPONSE_TIMEOUT),
            connect_timeout: chosen.connect_timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            fence_lifetime: chosen.fence_lifetime.unwrap_or(DEFAULT_FENCE_LIFETIME),
            restart_delay: chosen.restart_delay.unwrap_or(DEFAULT_RESTART_DELAY),
            label,
            #[cfg(feature = "tls")]
            tls: self.tls,
        };
        check_fence_lifetime(settings.fence_lifetime).map_err(config)?;
        let restart_delay = Some(settings.restart_delay).filter(|delay| is_quorum && !delay.is_zero());
        check_restart_delay(ttl, restart_delay).map_err(|reason| config(format!("ttl {ttl:?}: {reason}")))?;
        let (store, probe) = open(&settings)?;
        let timeout = settings.response_timeout;
        let manager = LockManager::over(store, namespace, ttl, timeout, restart_delay, self.runtime, label);
        Ok((manager, probe))
    }
}

impl fmt::Debug for LockManagerBuilder {
    /// Leaves out the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockManagerBuilder").field("overrides", &self.overrides).finish_non_exhaustive()
    }
}
