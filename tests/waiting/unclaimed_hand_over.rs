//! The keys that an unclaimed hand-over leaves on the server lapse by themselves.

use std::time::Duration;

use distlock::{Acquired, Enqueue, Key, LockManager, OwnerToken, RedisStore, Store};
use test_support::RedisServer;
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(30);

/// The waiter hangs, and is the last one in the wait queue.
#[tokio::test]
async fn a_hand_over_that_is_not_claimed_leaves_only_keys_that_lapse() {
    hand_over_without_claim(false).await;
}

#[tokio::test]
async fn a_fenced_hand_over_that_is_not_claimed_leaves_only_keys_that_lapse() {
    hand_over_without_claim(true).await;
}

async fn hand_over_without_claim(fenced: bool) {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let held = locks.lock("k").acquire().await.unwrap();
    let store = RedisStore::open(&server.url()).unwrap();
    let (key, waiter) = (Key::new("lock", "k").unwrap(), OwnerToken::random());
    let enqueue = Enqueue::new(Instant::now()).contended(true);
    let answer = store.acquire_or_enqueue(&key, &waiter, TTL, fenced, enqueue).await.unwrap();
    assert!(matches!(answer, Acquired::Busy { .. }), "{answer:?}");
    held.release().await.unwrap();
    let keys = server.keys().await;
    assert!(keys.len() > 1, "the lock, and the mark of its hand-over: {keys:?}");
    // The fencing counter lasts for two days.
    let longest = if fenced { 172_800_000 } else { 40_000 };
    let lease: i64 = server.command(&["PTTL", "lock:k"]).await;
    for key in keys {
        let ttl: i64 = server.command(&["PTTL", &key]).await;
        assert!((1..=longest).contains(&ttl), "{key}: {ttl}");
        assert!(ttl >= lease - 100, "{key}: {ttl}, the lease {lease}");
    }
}
