//! Nodes that get commands late, or never, in virtual time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::{
    Acquired, Holder, Key, LockManager, MemoryStore, OwnerToken, Store, StoreError, StoreErrorKind,
    StoreFuture,
};
use tokio::time::sleep;

use crate::NEVER;

/// A node that gets its commands late, or never.
#[derive(Default)]
struct LateNode {
    store: MemoryStore,
    acquires: AtomicUsize,
    /// How long each acquire is on its way. `NEVER`: it times out.
    acquire_lag: Mutex<Duration>,
    /// The same for each release.
    release_lag: Mutex<Duration>,
    /// What the node claims with `keeps_order`.
    in_order: bool,
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

    async fn has(&self, name: &str) -> bool {
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

fn late_nodes<const N: usize>() -> ([Arc<LateNode>; N], LockManager) {
    late_nodes_in_order(false)
}

fn late_nodes_in_order<const N: usize>(in_order: bool) -> ([Arc<LateNode>; N], LockManager) {
    let nodes: [Arc<LateNode>; N] =
        std::array::from_fn(|_| Arc::new(LateNode { in_order, ..LateNode::default() }));
    let locks = LockManager::quorum(nodes.clone()).unwrap();
    (nodes, locks)
}

#[tokio::test(start_paused = true)]
async fn a_release_never_overtakes_its_own_acquire() {
    let (nodes, locks) = late_nodes::<3>();
    *nodes[2].acquire_lag.lock().unwrap() = Duration::from_millis(500);
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(!nodes[2].has("k").await, "the key would stay until its ttl");
}

/// This happens when a connection was replaced and the server read from the new one first.
#[tokio::test(start_paused = true)]
async fn a_release_that_overtook_its_own_acquire_is_sent_again() {
    let (nodes, locks) = late_nodes_in_order::<5>(true);
    // The answer to the acquire comes before the answer to the release, or after it.
    for (node, millis) in [(3, 10), (4, 500)] {
        *nodes[node].acquire_lag.lock().unwrap() = Duration::from_millis(millis);
    }
    let guard = locks.lock("k").acquire().await.unwrap();
    guard.release().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    for node in &nodes {
        assert!(!node.has("k").await, "the key would stay until its ttl");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_failed_on_a_node_that_granted_late_is_sent_again() {
    for in_order in [false, true] {
        let (nodes, locks) = late_nodes_in_order::<3>(in_order);
        *nodes[2].acquire_lag.lock().unwrap() = Duration::from_millis(10);
        *nodes[2].release_lag.lock().unwrap() = NEVER;
        locks.lock("k").acquire().await.unwrap().release().await.unwrap();
        sleep(Duration::from_millis(200)).await;
        assert!(nodes[2].has("k").await);
        *nodes[2].release_lag.lock().unwrap() = Duration::ZERO;
        sleep(Duration::from_secs(5)).await;
        assert!(!nodes[2].has("k").await, "the key would stay until its ttl");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_keep_order_get_commands_before_they_have_answered() {
    let (nodes, locks) = late_nodes_in_order::<3>(true);
    *nodes[2].acquire_lag.lock().unwrap() = Duration::from_millis(500);
    for _ in 0..10 {
        locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(nodes[2].acquires.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_is_skipped_until_it_answers() {
    let (nodes, locks) = late_nodes::<3>();
    *nodes[1].acquire_lag.lock().unwrap() = NEVER;
    locks.lock("first").acquire().await.unwrap().release().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    for _ in 0..20 {
        locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    }
    assert_eq!(nodes[1].acquires.load(Ordering::Relaxed), 1);
    *nodes[1].acquire_lag.lock().unwrap() = Duration::ZERO;
    sleep(Duration::from_secs(3)).await;
    let _guard = locks.lock("k").acquire().await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert!(nodes[1].has("k").await, "the node takes part again");
}

#[tokio::test(start_paused = true)]
async fn a_released_key_is_free_for_the_next_call() {
    let (nodes, locks) = late_nodes::<5>();
    let lag = |lag: fn(&LateNode) -> &Mutex<Duration>, nodes: &[Arc<LateNode>], millis| {
        for node in nodes {
            *lag(node).lock().unwrap() = Duration::from_millis(millis);
        }
    };
    // Two nodes get the first acquire late, and two others the second release: each time a majority decides
    // without them.
    lag(|node| &node.acquire_lag, &nodes[3..], 30);
    let first = locks.lock("k").acquire().await.unwrap();
    sleep(Duration::from_millis(1)).await;
    lag(|node| &node.acquire_lag, &nodes[3..], 0);
    first.release().await.unwrap();
    let second = locks.lock("k").acquire().await.unwrap();
    lag(|node| &node.release_lag, &nodes[1..3], 50);
    second.release().await.unwrap();
    lag(|node| &node.release_lag, &nodes[3..], 100);
    sleep(Duration::from_millis(40)).await;
    let third = locks.lock("k").acquire().await.expect("the key was released");
    third.release().await.unwrap();
}
