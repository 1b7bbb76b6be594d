//! Several owners want one key while nodes fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::{Acquired, Holder, Key, LockError, LockManager, OwnerToken, QuorumStore, Store, StoreFuture};
use test_support::in_time;
use tokio::time::{Instant, sleep};

use crate::{NEVER, late_node::late_nodes, quorum, servers};

#[tokio::test(start_paused = true)]
async fn a_divided_quorum_with_a_node_down_is_busy() {
    let (nodes, locks) = late_nodes::<3>();
    *nodes[0].acquire_lag.lock().unwrap() = NEVER;
    // Finds the node down.
    locks.lock("first").acquire().await.unwrap().release().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let key = Key::new("lock", "k").unwrap();
    nodes[1].store.acquire(&key, &OwnerToken::random(), Duration::from_secs(60), false).await.unwrap();
    *nodes[2].acquire_lag.lock().unwrap() = Duration::from_millis(1);

    let busy = locks.lock("k").acquire().await.unwrap_err();
    assert!(matches!(busy, LockError::Busy { .. }), "{busy}");
    // A call beside a waiter only looks at the key.
    let waiter = tokio::spawn(locks.lock("k").wait_forever().acquire());
    sleep(Duration::from_millis(1)).await;
    let busy = locks.lock("k").acquire().await.unwrap_err();
    assert!(matches!(busy, LockError::Busy { .. }), "{busy}");
    waiter.abort();
    sleep(Duration::from_secs(1)).await;
    assert!(!nodes[2].has("k").await, "an attempt that failed keeps nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn contenders_take_turns_while_a_minority_hangs() {
    let servers = servers::<5>();
    let begun = Instant::now();
    let last_turn = Arc::new(AtomicUsize::new(0));
    let longest_gap = Arc::new(AtomicUsize::new(0));
    let managers: Vec<_> =
        (0..3).map(|_| quorum(&servers).response_timeout(Duration::from_secs(12)).build().unwrap()).collect();
    for locks in &managers {
        locks.lock("warm").wait_forever().acquire().await.unwrap().release().await.unwrap();
    }
    servers[1].pause();
    servers[3].pause();
    let millis = move || usize::try_from(begun.elapsed().as_millis()).unwrap();
    last_turn.store(millis(), Ordering::SeqCst);
    let mut tasks = tokio::task::JoinSet::new();
    for locks in managers {
        let (last_turn, longest_gap) = (Arc::clone(&last_turn), Arc::clone(&longest_gap));
        tasks.spawn(async move {
            for _ in 0..100 {
                let lock = locks.lock("k").wait(Duration::from_secs(60));
                let turn = lock.run(async {
                    let gap = millis() - last_turn.load(Ordering::SeqCst);
                    longest_gap.fetch_max(gap, Ordering::SeqCst);
                    sleep(Duration::from_millis(1)).await;
                    last_turn.store(millis(), Ordering::SeqCst);
                });
                turn.await.unwrap();
            }
        });
    }
    in_time(Duration::from_secs(60), tasks.join_all()).await;
    servers[1].resume();
    servers[3].resume();
    let longest_gap = longest_gap.load(Ordering::SeqCst);
    println!("the key was free for {longest_gap} ms at the longest");
    assert!(longest_gap < 3000, "the key was free for {longest_gap} ms while three managers wanted it");
}

/// A node whose key is held for ever, by a remaining time that no clock can add.
struct HeldForEver;

impl Store for HeldForEver {
    fn acquire(&self, _: &Key, _: &OwnerToken, _: Duration, _: bool) -> StoreFuture<Acquired> {
        Box::pin(async { Ok(Acquired::busy(Some(Duration::MAX))) })
    }

    fn renew(&self, _: &Key, _: &OwnerToken, _: Duration) -> StoreFuture<bool> {
        Box::pin(async { Ok(false) })
    }

    fn release(&self, _: &Key, _: &OwnerToken) -> StoreFuture<bool> {
        Box::pin(async { Ok(false) })
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let holder = Holder::unknown(key.name()).with_remaining(Some(Duration::MAX));
        Box::pin(async { Ok(Some(holder)) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_end_is_busy() {
    let locks = LockManager::quorum([HeldForEver, HeldForEver, HeldForEver]).unwrap();
    for wait in [Duration::ZERO, Duration::from_millis(50)] {
        let busy = locks.lock("k").wait(wait).acquire().await.unwrap_err();
        assert!(matches!(busy, LockError::Busy { .. }), "{busy}");
    }
    // A ttl that no clock can add, of a caller that uses the store without a manager.
    let nodes = (0..3).map(|at| (format!("node {at}"), Box::new(HeldForEver) as Box<dyn Store>));
    let quorum = QuorumStore::new(nodes).unwrap();
    let (key, owner) = (Key::new("lock", "k").unwrap(), OwnerToken::random());
    assert!(!quorum.renew(&key, &owner, Duration::MAX).await.unwrap());
    let busy = quorum.acquire(&key, &owner, Duration::MAX, false).await.unwrap();
    assert!(matches!(busy, Acquired::Busy { .. }), "{busy:?}");
}
