//! The counter that fencing tokens come from outlasts a long lease.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::{
    Acquired, FencingToken, Holder, Key, LockManager, MemoryStore, OwnerToken, QuorumStore, Store,
    StoreFuture,
};

use crate::A_DAY;

/// Counts how often a counter is told to last.
#[derive(Clone)]
struct CountingStore {
    store: MemoryStore,
    raised: Arc<AtomicUsize>,
}

impl Store for CountingStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.store.acquire(key, owner, ttl, fenced)
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.store.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.store.release(key, owner)
    }

    fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
        self.raised.fetch_add(1, Ordering::Relaxed);
        self.store.raise_fence(key, owner, fence)
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.store.inspect(key)
    }
}

/// Holds a lock for three days, and returns how often its counter was told to last meanwhile.
async fn told_in_three_days(counting: &CountingStore, locks: &LockManager, fenced: bool) -> usize {
    let request = locks.lock("ledger").ttl(Duration::from_secs(3600));
    let guard = if fenced { request.fenced() } else { request }.acquire().await.unwrap();
    let before = counting.raised.load(Ordering::Relaxed);
    tokio::time::sleep(3 * A_DAY).await;
    guard.release().await.unwrap();
    counting.raised.load(Ordering::Relaxed) - before
}

#[tokio::test(start_paused = true)]
async fn a_long_fenced_lease_keeps_its_counter() {
    let counting = CountingStore { store: MemoryStore::new(), raised: Arc::default() };
    let locks = LockManager::builder().store(counting.clone()).build().unwrap();
    let told = told_in_three_days(&counting, &locks, true).await;
    assert!((3..=6).contains(&told), "{told}");
    assert_eq!(told_in_three_days(&counting, &locks, false).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_long_fenced_lease_keeps_its_counter_on_all_nodes_of_a_quorum() {
    let counting = CountingStore { store: MemoryStore::new(), raised: Arc::default() };
    let node = |at| -> (String, Box<dyn Store>) {
        let store: Box<dyn Store> =
            if at == 1 { Box::new(counting.clone()) } else { Box::new(MemoryStore::new()) };
        (format!("node {at}"), store)
    };
    let quorum = QuorumStore::new((1..=3).map(node)).unwrap();
    let locks = LockManager::builder().store(quorum).build().unwrap();
    let told = told_in_three_days(&counting, &locks, true).await;
    assert!((3..=6).contains(&told), "{told}");
}
