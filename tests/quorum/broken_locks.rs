//! On a quorum, the holder is the one of a majority, and a lock that is broken stays broken.

use std::time::Duration;

use distlock::{
    Acquired, Holder, HolderId, HolderKind, Key, LockManager, LostReason, MemoryStore, OwnerToken,
    QuorumStore, RedisStore, Store,
};
use test_support::{eventually, in_time};
use tokio::time::sleep;

use crate::{SOON, nodes_with, quorum, servers};

const TTL: Duration = Duration::from_secs(1);

fn key() -> Key {
    Key::new("lock", "k").unwrap()
}

/// Returns three nodes in memory, and a manager on them.
fn in_memory() -> ([MemoryStore; 3], LockManager) {
    let nodes = [(); 3].map(|()| MemoryStore::new());
    let named = nodes.clone().map(|node| (String::new(), Box::new(node) as Box<dyn Store>));
    let store = QuorumStore::new(named).unwrap();
    let locks = LockManager::builder().store(store).owner("pod-7").ttl(TTL).build().unwrap();
    (nodes, locks)
}

async fn takes(node: &MemoryStore) -> OwnerToken {
    let owner = OwnerToken::random();
    let answer = node.acquire(&key(), &owner, Duration::from_secs(600), false).await.unwrap();
    assert_eq!(answer, Acquired::granted(None));
    owner
}

async fn held_on(node: &MemoryStore) -> Option<HolderId> {
    node.inspect(&key()).await.unwrap().as_ref().and_then(Holder::id)
}

#[tokio::test]
async fn a_broken_lock_is_lost_and_its_successor_is_alone() {
    let servers = servers::<3>();
    let (one, two) = (quorum(&servers).owner("pod-7"), quorum(&servers).owner("pod-8"));
    let (one, two) = (one.ttl(TTL).build().unwrap(), two.ttl(TTL).build().unwrap());
    let hangs = one.lock("k").acquire().await.unwrap();
    let seen = two.inspect("k").await.unwrap().unwrap();
    assert_eq!(
        (seen.label.as_deref(), seen.kind, seen.waiters),
        (Some("pod-7"), HolderKind::Exclusive, None)
    );
    let refused = two.lock("k").acquire().await.unwrap_err();
    assert!(refused.to_string().contains("held by pod-7"), "{refused}");
    assert!(two.break_lock(&seen).await.unwrap());
    assert_eq!(in_time(SOON, hangs.lost()).await, LostReason::NotOwner);
    let successor = in_time(SOON, two.lock("k").wait(SOON).acquire()).await.unwrap();
    assert!(!two.break_lock(&seen).await.is_ok_and(|_| !successor.is_held()), "the successor was broken");
    drop(hangs);
    sleep(TTL * 2).await;
    assert!(successor.is_held());
    successor.release().await.unwrap();
    sleep(TTL / 2).await;
    assert_eq!(nodes_with(&servers, "lock:k").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_break_under_way_is_not_healed() {
    for told in 0..3 {
        let (nodes, locks) = in_memory();
        let guard = locks.lock("k").acquire().await.unwrap();
        // The third node's grant is not waited for.
        sleep(TTL / 10).await;
        let id = locks.inspect("k").await.unwrap().unwrap().id().unwrap();
        assert!(nodes[told].break_lock(&key(), id).await.unwrap());
        // Renewals are confirmed by the other two, and ask for heals.
        sleep(TTL * 5).await;
        assert!(guard.is_held());
        assert_eq!(held_on(&nodes[told]).await, None, "it was healed");
        assert!(nodes[(told + 1) % 3].break_lock(&key(), id).await.unwrap());
        assert_eq!(in_time(TTL, guard.lost()).await, LostReason::NotOwner);
    }
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_arrives_after_the_break_does_not_undo_it() {
    let (nodes, locks) = in_memory();
    let owner = OwnerToken::random();
    let holds = async |node: &MemoryStore| node.acquire(&key(), &owner, TTL * 9, false).await.unwrap();
    holds(&nodes[0]).await;
    holds(&nodes[1]).await;
    let seen = locks.inspect("k").await.unwrap().unwrap();
    assert!(locks.break_lock(&seen).await.unwrap());
    holds(&nodes[1]).await;
    holds(&nodes[2]).await;
    for node in &nodes {
        assert!(!node.renew(&key(), &owner, TTL * 9).await.unwrap(), "renewals read that it is broken");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_different_owners_hold_are_divided() {
    let (nodes, locks) = in_memory();
    let owners = [takes(&nodes[0]).await, takes(&nodes[1]).await, takes(&nodes[2]).await];
    let holder = locks.inspect("k").await.unwrap().unwrap();
    assert_eq!((holder.kind, holder.label.as_deref(), holder.id()), (HolderKind::Divided, None, None));
    assert!(!locks.break_lock(&holder).await.unwrap());
    // What one node says is not the quorum's word.
    assert!(nodes[0].release(&key(), &owners[0]).await.unwrap());
    assert_eq!(locks.inspect("k").await.unwrap().unwrap().kind, HolderKind::Divided);
    assert!(nodes[1].release(&key(), &owners[1]).await.unwrap());
    assert_eq!(locks.inspect("k").await.unwrap(), None);
}

#[tokio::test]
async fn a_list_has_each_lock_of_a_majority_once_and_outlasts_a_node() {
    let mut servers = servers::<3>();
    let locks = quorum(&servers).owner("pod-7").build().unwrap();
    let mut guards = Vec::new();
    for number in 0..20 {
        guards.push(locks.lock(format!("order:{number:02}")).acquire().await.unwrap());
    }
    // A node that was granted something which has no majority.
    servers[0].command::<()>(&["SET", "lock:order:99", "x"]).await;
    for _ in 0..2 {
        let (mut found, mut list) = (Vec::new(), locks.list("order:"));
        while let Some(holder) = in_time(SOON, list.next()).await {
            let holder = holder.unwrap();
            assert_eq!(holder.label.as_deref(), Some("pod-7"));
            found.push(holder.key);
        }
        found.sort();
        assert_eq!(found, (0..20).map(|number| format!("order:{number:02}")).collect::<Vec<_>>());
        servers[0].stop();
    }
    servers[1].stop();
    let failed = in_time(SOON, locks.list("").next()).await.unwrap().unwrap_err();
    assert!(failed.to_string().contains("2 of 3 nodes failed"), "{failed}");
}

#[tokio::test]
async fn a_server_neither_heals_nor_renews_a_broken_owner() {
    let servers = servers::<3>();
    let locks = quorum(&servers).ttl(TTL).build().unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 3).await;
    let value: String = servers[0].command(&["GET", "lock:k"]).await;
    let seen = locks.inspect("k").await.unwrap().unwrap();
    // A break that has reached one server so far.
    let first = RedisStore::open(&servers[0].url()).unwrap();
    assert!(first.break_lock(&key(), seen.id().unwrap()).await.unwrap());
    assert!(!first.break_lock(&key(), seen.id().unwrap()).await.unwrap());
    sleep(TTL * 2).await;
    assert!(guard.is_held() && !servers[0].has("lock:k").await, "it was healed");
    assert!(locks.break_lock(&seen).await.unwrap());
    for server in &servers {
        // As an acquire that was under way for long.
        server.command::<()>(&["SET", "lock:k", &value, "NX", "PX", "60000"]).await;
    }
    assert_eq!(in_time(SOON, guard.lost()).await, LostReason::NotOwner);
}
