//! The cluster's store keeps the contract of a store, for keys with every kind of braces.

use std::collections::BTreeSet;

use distlock::{OwnerToken, Store};
use distlock_store_tests::{contract, hand_over, heal, quorum_node};

use super::{SOON, connect, key, shared, store_of};
use test_support::in_time;

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let cluster = shared().await;
    let store = store_of(cluster);
    contract(&store).await;
    quorum_node(&store).await;
    heal(&store).await;
    // As far as the servers can tell, the second one is another process.
    hand_over(&store, &store_of(cluster)).await;
}

#[tokio::test]
async fn a_lease_is_at_the_primary_of_its_slot_with_every_kind_of_braces() {
    let cluster = shared().await;
    let locks = connect(cluster).await;
    let mut primaries = BTreeSet::new();
    for name in [
        "braces",
        "{tag}",
        "a{tag}b{other}",
        "}{tag}",
        "{{tag}}",
        "{",
        "}",
        "{}",
        "a{}b{c}",
        "a}b{",
        "{a",
        "{\u{1f}}",
        "x\u{1f}y",
        "{tag}\u{1f}",
        "é{ü}",
        "{}{a}",
        "a{b}c}d",
        "1",
        "2",
        "3",
        "4",
    ] {
        let redis_key = format!("lock:{}", name.replace('\u{1f}', "\u{1f}\u{1f}"));
        let primary = cluster.first_owner_of(cluster.slot_of(&redis_key).await);
        primaries.insert(primary);
        let holder = locks.lock(name).fenced().acquire().await.unwrap();
        assert!(cluster.servers()[primary].has(&redis_key).await, "{name}");
        // All five keys of the lock are in one slot, or a script would be refused.
        let other = connect(cluster).await;
        let waiters = [&locks, &other].map(|locks| {
            let acquire = locks.lock(name).fenced().wait(SOON).acquire();
            tokio::spawn(async { acquire.await.unwrap().release().await.unwrap() })
        });
        holder.release().await.unwrap();
        for waiter in waiters {
            in_time(SOON, waiter).await.unwrap();
        }
        assert!(!cluster.servers()[primary].has(&redis_key).await, "{name}");
    }
    assert_eq!(primaries.len(), 3, "the keys are spread over the cluster");
}

#[tokio::test]
async fn each_operation_finds_its_primary_although_the_first_one_asked_is_another() {
    let cluster = shared().await;
    // Each store knows one server at first.
    for (at, url) in cluster.urls().iter().enumerate() {
        let store = distlock::ClusterStore::open([&**url]).unwrap();
        for primary in 0..3 {
            let name = cluster.name_at(&format!("found-by-{at}-"), primary).await;
            let owner = OwnerToken::random();
            assert_eq!(store.inspect(&key(&name)).await.unwrap(), None);
            let granted = store.acquire(&key(&name), &owner, SOON, false).await.unwrap();
            assert!(matches!(granted, distlock::Acquired::Granted { .. }), "{granted:?}");
            assert!(store.renew(&key(&name), &owner, SOON).await.unwrap());
            assert!(store.release(&key(&name), &owner).await.unwrap());
        }
    }
}
