//! How a manager is set up: the constructors, and the builder behind them.

use std::{fmt, time::Duration};

use tokio::runtime::Handle;

use super::{
    handle::LockManager,
    url::{KNOWN, Probe, Settings, config, names_quorum, store_of},
};
use crate::{
    error::LockError,
    key::Key,
    limits::{
        DEFAULT_CONNECT_TIMEOUT, DEFAULT_FENCE_LIFETIME, DEFAULT_NAMESPACE, DEFAULT_RESPONSE_TIMEOUT,
        DEFAULT_RESTART_DELAY, DEFAULT_TTL, check_fence_lifetime, check_restart_delay, check_ttl,
    },
    store::{MemoryStore, QuorumStore, Store},
};

impl LockManager {
    /// Connects to the store that a URL names, and asks it once whether it answers and can keep locks:
    ///
    /// * `redis://[user:password@]host[:port][/db]`: one Redis server; the port is 6379 unless given.
    /// * `rediss://..`: the same over TLS, with the feature `tls`.
    /// * `redlock://[user:password@]host[:port],host[:port],..[/db]`: a quorum of independent servers, best
    ///   three or five; see [`QuorumStore`]. A server that was started less than 60 s ago does not grant yet,
    ///   and no ttl is longer than that: see [`restart_delay`](LockManagerBuilder::restart_delay).
    /// * `memory://`: this process's memory, which excludes no other process.
    ///
    /// For settings, or for a server that need not be up yet, use [`builder`](Self::builder).
    ///
    /// # Errors
    /// - [`LockError::Config`] for a URL that is not understood, and for a server that is not fit for locks:
    ///   a node of a cluster, a Sentinel, a replica, a version before Redis 6.2 or Valkey 7.2, or one that
    ///   forbids a command without which a lock could not be given back.
    /// - [`LockError::Store`] if the server does not answer within a second.
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
            namespace: DEFAULT_NAMESPACE.to_owned(),
            ttl: DEFAULT_TTL,
            response_timeout: DEFAULT_RESPONSE_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            fence_lifetime: DEFAULT_FENCE_LIFETIME,
            restart_delay: DEFAULT_RESTART_DELAY,
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

    /// A manager over a connection of your own.
    ///
    /// Its timeouts and its reconnecting are yours, and so is keeping the runtime that drives it alive.
    /// Prefer a `redis::aio::ConnectionManager` (feature `connection-manager` of redis-rs): a bare
    /// multiplexed connection does not come back after a break.
    #[cfg(feature = "redis")]
    pub fn from_connection<C>(connection: C) -> Self
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::with_defaults(Box::new(crate::store::RedisStore::from_connection(connection)))
    }

    pub(crate) fn with_defaults(store: Box<dyn Store>) -> Self {
        Self::over(store, DEFAULT_NAMESPACE.to_owned(), DEFAULT_TTL, DEFAULT_RESPONSE_TIMEOUT, None, None)
    }
}

/// Sets a [`LockManager`] up: a URL or a store, and what differs from the defaults.
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
    namespace: String,
    ttl: Duration,
    response_timeout: Duration,
    connect_timeout: Duration,
    fence_lifetime: Duration,
    restart_delay: Duration,
    runtime: Option<Handle>,
}

enum StoreChoice {
    Url(String),
    Store(Box<dyn Store>),
}

impl LockManagerBuilder {
    /// Sets where the leases live, by one of the URLs that [`LockManager::connect`] lists.
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
        self.choice = Some(StoreChoice::Store(Box::new(store)));
        self
    }

    /// Sets the namespace of the keys. The default is `lock`: a lock on `order:42` is then the Redis key
    /// `lock:order:42`. An empty namespace leaves keys as they are. Braces in
    /// it must be balanced and not empty: they are a Redis Cluster hash tag.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets how long a lease lasts without renewal if a request does not say: 10 ms to 366 days. The default
    /// is 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how long to wait at most for the server's answer, above zero. The default is 1 s. For URLs; a
    /// [`shutdown`](LockManager::shutdown) waits for as long for other runtimes, whatever the store.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Sets how long making a connection may take at most, above zero. The default is 1 s. For URLs.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a Redis server keeps a key's fencing counter after the key's last grant: 1 to 366 days.
    /// The default is 2 days. For URLs.
    ///
    /// Once the counter is gone, the server's clock keeps tokens rising. So the lifetime is the time for
    /// which tokens rise even if that clock is stepped back. A counter takes about 150 bytes of the server's
    /// memory. All managers of the same locks should set the same.
    pub fn fence_lifetime(mut self, lifetime: Duration) -> Self {
        self.fence_lifetime = lifetime;
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
        self.restart_delay = delay;
        self
    }

    /// Sets the runtime on which [`blocking_acquire`](crate::LockRequest::blocking_acquire) acquires and its
    /// lease is renewed. It must be driven while threads block.
    ///
    /// The default is the multi-thread runtime that is current when the manager is made, or else a background
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
    /// and for settings out of range.
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
        check_ttl(self.ttl).map_err(|reason| config(format!("ttl {:?}: {reason}", self.ttl)))?;
        check_fence_lifetime(self.fence_lifetime).map_err(config)?;
        Key::check_namespace(&self.namespace).map_err(config)?;
        let settings = Settings {
            response_timeout: self.response_timeout,
            connect_timeout: self.connect_timeout,
            fence_lifetime: self.fence_lifetime,
            restart_delay: self.restart_delay,
        };
        let is_quorum = matches!(&self.choice, Some(StoreChoice::Url(url)) if names_quorum(url));
        let restart_delay = Some(self.restart_delay).filter(|delay| is_quorum && !delay.is_zero());
        check_restart_delay(self.ttl, restart_delay)
            .map_err(|reason| config(format!("ttl {:?}: {reason}", self.ttl)))?;
        let (store, probe) = match self.choice {
            Some(StoreChoice::Store(store)) => (store, None),
            Some(StoreChoice::Url(url)) => store_of(&url, &self.namespace, settings)?,
            None => {
                let reason = format!("no store was named; call `.url(..)` with {KNOWN}, or `.store(..)`");
                return Err(config(reason));
            }
        };
        let timeout = self.response_timeout;
        let manager =
            LockManager::over(store, self.namespace, self.ttl, timeout, restart_delay, self.runtime);
        Ok((manager, probe))
    }
}

impl fmt::Debug for LockManagerBuilder {
    /// Leaves out the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockManagerBuilder")
            .field("namespace", &self.namespace)
            .field("ttl", &self.ttl)
            .field("response_timeout", &self.response_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("fence_lifetime", &self.fence_lifetime)
            .field("restart_delay", &self.restart_delay)
            .finish_non_exhaustive()
    }
}
