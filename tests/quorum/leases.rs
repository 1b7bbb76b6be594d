//! A lease lasts while a majority confirms it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::LostReason;
use test_support::{RedisServer, eventually, in_time};

use crate::{SOON, nodes_with, quorum, servers};

#[tokio::test]
async fn a_lease_is_lost_when_a_majority_no_longer_confirms_it() {
    let servers = servers::<5>();
    let locks = quorum(&servers).ttl(Duration::from_secs(2)).build().unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 5).await;
    for server in &servers[..2] {
        server.command::<u8>(&["DEL", "lock:k"]).await;
    }
    guard.renew().await.expect("three of five are a majority");
    // The renewal heals the two.
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 5).await;
    for server in &servers[..3] {
        server.command::<u8>(&["DEL", "lock:k"]).await;
    }
    assert_eq!(in_time(SOON, guard.lost()).await, LostReason::NotOwner);
}

#[tokio::test]
async fn a_lease_is_lost_when_a_majority_does_not_answer_within_its_validity() {
    let servers = servers::<5>();
    let locks = quorum(&servers).ttl(Duration::from_millis(900)).build().unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    for server in &servers[..2] {
        server.pause();
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(guard.is_held(), "a minority that hangs does not end it");
    servers[2].pause();
    assert_eq!(in_time(SOON, guard.lost()).await, LostReason::Expired);
    servers[..3].iter().for_each(RedisServer::resume);
}

#[tokio::test]
async fn contending_managers_all_get_the_key_one_at_a_time() {
    let servers = servers::<5>();
    let mut tasks = tokio::task::JoinSet::new();
    let inside = Arc::new(AtomicUsize::new(0));
    for _ in 0..8 {
        let (locks, inside) = (quorum(&servers).build().unwrap(), inside.clone());
        tasks.spawn(async move {
            for _ in 0..10 {
                let lock = locks.lock("k").wait(Duration::from_secs(60));
                let body = lock.run(async {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                });
                body.await.unwrap();
            }
        });
    }
    in_time(Duration::from_secs(60), tasks.join_all()).await;
}
