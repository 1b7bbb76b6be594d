//! A node that gets its commands late, or never.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::{
    Acquired, FencingToken, Holder, Key, LockManager, MemoryStore, OwnerToken, Store, StoreError,
    StoreErrorKind, StoreFuture,
};
use tokio::time::sleep;

use crate::NEVER;

/// A node that gets its commands late, or never.
#[derive(Default)]
pub(crate) struct LateNode {
    pub(crate) store: MemoryStore,
    pub(crate) acquires: AtomicUsize,
    pub(crate) heals: AtomicUsize,
    /// How long each acquire is on its way. `NEVER`: it times out.
    pub(crate) acquire_lag: Mutex<Duration>,
    /// The same for each release.
    pub(crate) release_lag: Mutex<Duration>,
    /// What the node claims with `keeps_order`.
    pub(crate) in_order: bool,
}

impl LateNode {
    fn after<T: Send + 'static>(lag: &Mutex<Duration>, command: StoreFuture<T>) -> StoreFuture<T> {
        let lag = *lag.lock().unwrap();
        Box::pin(async move {
            if lag == NEVER {
                sleep(Duration::from_millis(100)).await;
                return Err(StoreError::new(StoreErrorKind::TimedOut, "the node did not answer in time"));
            }
            sleep(lag).await;
            command.await
        })
    }

    pub(crate) async fn has(&self, name: &str) -> bool {
        let key = Key::new("lock", name).unwrap();
        self.store.inspect(&key).await.unwrap().is_some()
    }
}

impl Store for LateNode {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.acquires.fetch_add(1, Ordering::Relaxed);
        Self::after(&self.acquire_lag, self.store.acquire(key, owner, ttl, fenced))
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.store.renew(key, owner, ttl)
    }

    fn take_again(
        &self,
        key: &Key,
        owner: &OwnerToken,
        rest_of_ttl: Duration,
        fence: Option<FencingToken>,
    ) -> StoreFuture<bool> {
        self.heals.fetch_add(1, Ordering::Relaxed);
        Self::after(&self.acquire_lag, self.store.take_again(key, owner, rest_of_ttl, fence))
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        Self::after(&self.release_lag, self.store.release(key, owner))
    }

    fn keeps_order(&self) -> bool {
        self.in_order
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        Self::after(&self.acquire_lag, self.store.inspect(key))
    }
}

pub(crate) fn late_nodes<const N: usize>() -> ([Arc<LateNode>; N], LockManager) {
    late_nodes_in_order(false)
}

pub(crate) fn late_nodes_in_order<const N: usize>(in_order: bool) -> ([Arc<LateNode>; N], LockManager) {
    let nodes: [Arc<LateNode>; N] =
        std::array::from_fn(|_| Arc::new(LateNode { in_order, ..LateNode::default() }));
    let locks = LockManager::quorum(nodes.clone()).unwrap();
    (nodes, locks)
}
