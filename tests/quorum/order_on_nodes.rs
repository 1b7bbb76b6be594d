//! In which order a node gets the commands of one owner.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::{Acquired, Holder, Key, LockManager, MemoryStore, OwnerToken, Store, StoreFuture};
use tokio::time::sleep;

/// A node that answers its acquires late, and whose commands may overtake each other.
#[derive(Default)]
struct SlowNode {
    store: MemoryStore,
    lag: Duration,
    acquires_pending: Arc<AtomicUsize>,
    releases: AtomicUsize,
    /// Releases that came while an acquire was pending.
    too_early: AtomicUsize,
}

impl Store for SlowNode {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (acquire, lag) = (self.store.acquire(key, owner, ttl, fenced), self.lag);
        let pending = Arc::clone(&self.acquires_pending);
        pending.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            sleep(lag).await;
            let acquired = acquire.await;
            pending.fetch_sub(1, Ordering::SeqCst);
            acquired
        })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.store.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.releases.fetch_add(1, Ordering::SeqCst);
        self.too_early.fetch_add(self.acquires_pending.load(Ordering::SeqCst), Ordering::SeqCst);
        self.store.release(key, owner)
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.store.inspect(key)
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_commands_may_overtake_each_other_gets_a_release_after_the_acquire_was_answered() {
    let lags = [0, 0, 500].map(Duration::from_millis);
    let nodes = lags.map(|lag| Arc::new(SlowNode { lag, ..SlowNode::default() }));
    let locks = LockManager::quorum(nodes.clone()).unwrap();
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    sleep(Duration::from_secs(2)).await;
    for node in nodes {
        assert!(node.store.inspect(&Key::new("lock", "k").unwrap()).await.unwrap().is_none());
        assert_eq!(node.releases.load(Ordering::SeqCst), 1);
        assert_eq!(node.too_early.load(Ordering::SeqCst), 0);
    }
}
