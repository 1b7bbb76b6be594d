//! Nodes that get commands late, or never, in virtual time.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    NEVER,
    late_node::{LateNode, late_nodes, late_nodes_in_order},
};

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
async fn a_node_that_is_much_slower_than_the_others_is_skipped_before_its_timeout() {
    let (nodes, locks) = late_nodes_in_order::<3>(true);
    *nodes[2].acquire_lag.lock().unwrap() = NEVER / 2;
    locks.lock("first").acquire().await.unwrap().release().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    for _ in 0..20 {
        locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    }
    assert_eq!(nodes[2].acquires.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_has_a_bounded_number_of_commands_to_answer() {
    let (nodes, locks) = late_nodes_in_order::<3>(true);
    *nodes[2].acquire_lag.lock().unwrap() = NEVER / 2;
    for _ in 0..5000 {
        locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    }
    let acquires = nodes[2].acquires.load(Ordering::Relaxed);
    assert!((100..=1024).contains(&acquires), "{acquires} acquires are unanswered");
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
