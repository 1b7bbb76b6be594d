//! A lease that is held for days.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use distlock::{
    Acquired, FencingToken, Holder, Key, LockManager, MemoryStore, OwnerToken, Store, StoreFuture,
};
use tokio::time::sleep;

use crate::A_DAY;

/// Counts how often a fencing counter is raised for its holder.
#[derive(Clone, Default)]
struct CountsRaises {
    store: MemoryStore,
    raises: Arc<AtomicU32>,
}

impl Store for CountsRaises {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.store.acquire(key, owner, ttl, fenced)
    }

    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        self.store.acquire_proposed(key, owner, ttl, proposal)
    }

    fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
        let (raise, raises) = (self.store.raise_fence(key, owner, fence), Arc::clone(&self.raises));
        Box::pin(async move {
            let raised = raise.await?;
            raises.fetch_add(u32::from(raised), Ordering::Relaxed);
            Ok(raised)
        })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.store.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.store.release(key, owner)
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.store.inspect(key)
    }
}

/// On a server the counter has a ttl, which begins anew whenever the counter is raised.
#[tokio::test(start_paused = true)]
async fn the_fencing_counter_of_a_held_lease_is_raised_again_once_a_day_at_least() {
    for nodes in [1, 3] {
        for fenced in [false, true] {
            let stores: Vec<_> = (0..nodes).map(|_| CountsRaises::default()).collect();
            let locks = match &*stores {
                [store] => LockManager::builder().store(store.clone()).build().unwrap(),
                stores => LockManager::quorum(stores.to_vec()).unwrap(),
            };
            let lock = locks.lock("job").ttl(Duration::from_secs(3600));
            let guard = if fenced { lock.fenced() } else { lock }.acquire().await.unwrap();
            sleep(A_DAY * 5).await;
            assert!(guard.is_held());
            for store in &stores {
                let raises = store.raises.load(Ordering::Relaxed);
                assert!(if fenced { (5..=10).contains(&raises) } else { raises == 0 }, "{raises}");
            }
            guard.release().await.unwrap();
        }
    }
}
