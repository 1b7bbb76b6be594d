//! The handle: what every lock of a program goes through.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::stream::{self, StreamExt};
use tokio::{sync::Semaphore, time::timeout_at};

use crate::{
    clock::Moment,
    error::{LockError, StoreError},
    keeper::{Keeper, Keepers},
    key::Key,
    lease::Lease,
    options::Options,
    request::LockRequest,
    store::{MemoryStore, QuorumStore, Store},
    wait_queue::WaitQueues,
};

mod builder;
mod default;

pub use builder::LockManagerBuilder;
pub use default::{current_manager, set_default, with_manager};

/// Makes locks on one store. A clone is the same manager; a program needs one.
///
/// It works on every tokio runtime, multi-thread or current-thread, also on another one than it was made on: each runtime that uses it gets a
/// connection and a keeper task of its own, on first use. Dropping the last clone, with no guard
/// left, ends them.
///
/// # Examples
/// ```
/// # async fn example() -> Result<(), distlock_core::LockError> {
/// let manager = distlock_core::LockManager::in_memory();
/// let guard = manager.lock("order:42").acquire().await?;
/// assert!(manager.lock("order:42").try_acquire().await?.is_none());
/// guard.release().await?;
/// # Ok(()) }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct LockManager {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    keepers: Arc<Keepers>,
    namespace: String,
    ttl: Duration,
}

/// Enough to fill a connection's pipeline.
const RELEASES_AT_ONCE: usize = 512;

/// What a manager, its keepers and its guards share.
pub(crate) struct Shared {
    pub(crate) store: Box<dyn Store>,
    pub(crate) waiting: WaitQueues,
    pub(crate) failed_releases: AtomicU64,
    pub(crate) shut_down: AtomicBool,
    /// Releases that are tried again at a time, while the store fails.
    pub(crate) retries: Semaphore,
}

const RETRIES_AT_ONCE: usize = 16;

impl LockManager {
    /// Connects to the store that a URL names, and asks it once whether it answers:
    ///
    /// * `redis://[user:password@]host[:port][/db]`: one Redis server; port 6379 unless given
    /// * `rediss://..`: the same over TLS, with the feature `tls`
    /// * `redlock://[user:password@]host[:port],host[:port],..[/db]`: a quorum of independent servers, best three or five; see [`QuorumStore`].
    ///   A server that was started less than a ttl ago grants nothing yet: see [`restart_delay`](LockManagerBuilder::restart_delay)
    /// * `memory://`: this process's memory, excluding nobody outside it
    ///
    /// For settings, or for a server that need not be up yet, use [`builder`](Self::builder).
    ///
    /// # Errors
    /// [`LockError::Config`] for a URL that is not understood; [`LockError::Store`] when the server does not answer within a
    /// second for the connection and a second for the answer.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, LockError> {
        Self::builder().url(url.as_ref()).connect().await
    }

    /// Sets a manager up piece by piece.
    pub fn builder() -> LockManagerBuilder {
        LockManagerBuilder::new()
    }

    /// A manager on a fresh in-memory store, for tests, examples and programs of one process: it excludes nobody outside.
    pub fn in_memory() -> Self {
        Self::assemble(Box::new(MemoryStore::new()), crate::DEFAULT_NAMESPACE.to_owned(), crate::DEFAULT_TTL)
    }

    /// A manager on a quorum of stores of your own, in place of a `redlock://` URL: see [`QuorumStore`]. What they are called in messages is `node 1`
    /// and so on; for names, and for settings, give a [`QuorumStore`] to the [`builder`](Self::builder).
    ///
    /// # Errors
    /// [`LockError::Config`] for no node, or more than 64.
    pub fn quorum(nodes: impl IntoIterator<Item = impl Store>) -> Result<Self, LockError> {
        let name = |(at, store)| (format!("node {}", at + 1), Box::new(store) as Box<dyn Store>);
        let store = QuorumStore::new(nodes.into_iter().enumerate().map(name))?;
        Ok(Self::assemble(Box::new(store), crate::DEFAULT_NAMESPACE.to_owned(), crate::DEFAULT_TTL))
    }

    /// A manager over a connection that you made: its timeouts and its reconnecting are yours, and so is keeping the runtime that
    /// drives it alive. Prefer a `redis::aio::ConnectionManager` (feature `connection-manager` of redis-rs): a bare multiplexed connection does not come back after a break.
    #[cfg(feature = "redis")]
    pub fn from_connection<C>(connection: C) -> Self
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    {
        let store = crate::store::redis::RedisStore::from_connection(connection);
        Self::assemble(Box::new(store), crate::DEFAULT_NAMESPACE.to_owned(), crate::DEFAULT_TTL)
    }

    pub(crate) fn assemble(store: Box<dyn Store>, namespace: String, ttl: Duration) -> Self {
        let shared = Shared {
            store,
            waiting: WaitQueues::default(),
            failed_releases: AtomicU64::new(0),
            shut_down: AtomicBool::new(false),
            retries: Semaphore::new(RETRIES_AT_ONCE),
        };
        Self { inner: Arc::new(Inner { shared: Arc::new(shared), keepers: Arc::default(), namespace, ttl }) }
    }

    /// Begins a lock on `key`: 1 to 4,096 bytes, checked when the lock is asked for. On the store it is put into the manager's namespace.
    pub fn lock(&self, key: impl Into<String>) -> LockRequest {
        LockRequest::new(self.clone(), key.into(), Options::new(self.inner.ttl))
    }

    /// How many leases this manager could not release, so that their ttl has ended or will end them. Each was logged.
    pub fn failed_releases(&self) -> u64 {
        self.shared().failed_releases.load(Ordering::Relaxed)
    }

    /// Releases everything that this manager and its clones hold, and refuses everything from now on.
    ///
    /// Running bodies are told that their lease is lost and are dropped at their next await; each key is released when its body has
    /// ended, or left to its ttl where the body does not end before its lease does. Guards stay usable, and say
    /// that they are lost. Every later call ends with [`LockError::Store`] of kind
    /// [`ShutDown`](crate::StoreErrorKind::ShutDown). It returns when the store has confirmed the releases, or their ttl is over.
    ///
    /// # Cancel safety
    /// Dropped midway, later calls are refused all the same, and what was not released yet ends when its guard is dropped, or with its ttl.
    pub async fn shutdown(&self) {
        let shared = self.shared();
        shared.shut_down.store(true, Ordering::Release);
        let keepers = self.inner.keepers.all();
        let leases: Vec<_> = keepers.iter().flat_map(Keeper::give_up_all).collect();
        let release = |held: Arc<Lease>| async move {
            if timeout_at(held.deadline(), held.empty()).await.is_ok() {
                shared.end(&held.pending_release(Moment::now())).await;
                held.released.store(true, Ordering::Release);
            }
        };
        stream::iter(leases).for_each_concurrent(RELEASES_AT_ONCE, release).await;
        if let Ok(keeper) = self.keeper() {
            keeper.idle().await;
        }
    }

    pub(crate) fn key(&self, name: &str) -> Result<Key, LockError> {
        Key::new(&self.inner.namespace, name)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn keeper(&self) -> Result<Keeper, StoreError> {
        Keeper::of_this_runtime(&self.inner.shared, &self.inner.keepers)
    }
}

impl Shared {
    /// # Errors
    /// When the manager was shut down.
    pub(crate) fn ensure_running(&self) -> Result<(), StoreError> {
        if self.shut_down.load(Ordering::Acquire) { Err(StoreError::shut_down()) } else { Ok(()) }
    }
}

impl fmt::Debug for LockManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockManager")
            .field("namespace", &self.inner.namespace)
            .field("ttl", &self.inner.ttl)
            .finish_non_exhaustive()
    }
}
