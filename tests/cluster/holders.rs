//! Who holds a key on a cluster, which keys are held on all of its primaries, and how a lock is broken.

use std::time::Duration;

use distlock::{HolderKind, LockManager, LostReason};
use test_support::{RedisCluster, eventually, in_time};

use super::{SOON, own, shared};

/// The holder renews after a third of it.
const TTL: Duration = Duration::from_secs(1);

async fn labelled(cluster: &RedisCluster, label: &str) -> LockManager {
    LockManager::builder().url(cluster.url()).owner(label).ttl(TTL).connect().await.unwrap()
}

/// Lists the keys, in the order of their names.
async fn listed(locks: &LockManager, prefix: &str) -> Vec<String> {
    let (mut keys, mut list) = (Vec::new(), locks.list(prefix));
    while let Some(holder) = in_time(SOON, list.next()).await {
        let holder = holder.unwrap();
        assert_eq!((holder.label.as_deref(), holder.kind), (Some("pod-7"), HolderKind::Exclusive));
        keys.push(holder.key);
    }
    keys.sort();
    keys
}

#[tokio::test]
async fn a_list_has_the_locks_of_all_primaries_once_each() {
    let cluster = shared().await;
    let (one, other) = (labelled(cluster, "pod-7").await, labelled(cluster, "pod-8").await);
    let (mut guards, mut names) = (Vec::new(), Vec::new());
    for primary in 0..3 {
        for number in 0..10 {
            let name = cluster.name_at(&format!("listed:{primary}:{number}:"), primary).await;
            guards.push(one.lock(&name).acquire().await.unwrap());
            assert!(cluster.servers()[primary].has(&format!("lock:{name}")).await);
            names.push(name);
        }
    }
    names.sort();
    assert_eq!(listed(&other, "listed:").await, names, "each of them, and none twice");
    let of_one: Vec<_> = names.iter().filter(|name| name.starts_with("listed:1:")).cloned().collect();
    assert_eq!(listed(&other, "listed:1:").await, of_one);
    for guard in guards {
        guard.release().await.unwrap();
    }
    assert!(listed(&other, "listed:").await.is_empty());
}

#[tokio::test]
async fn a_list_fails_while_a_primary_does_not_answer() {
    let mut cluster = own().await;
    let locks = labelled(&cluster, "pod-7").await;
    cluster.servers_mut()[2].stop();
    let mut list = locks.list("");
    let failed = in_time(SOON, async {
        while let Some(holder) = list.next().await {
            if holder.is_err() {
                return true;
            }
        }
        false
    });
    assert!(failed.await, "a list that lacks a primary's locks looks like a whole one");
}

#[tokio::test]
async fn the_first_waiter_gets_a_broken_lock_on_each_primary() {
    let cluster = shared().await;
    let (one, two) = (labelled(cluster, "pod-7").await, labelled(cluster, "pod-8").await);
    for primary in 0..3 {
        let name = cluster.name_at(&format!("broken:{primary}:"), primary).await;
        assert_eq!(two.inspect(&name).await.unwrap(), None);
        let hangs = one.lock(&name).acquire().await.unwrap();
        let waiter = tokio::spawn(two.lock(&name).wait(SOON).acquire());
        let waiting = async || two.inspect(&name).await.unwrap().unwrap().waiters == Some(1);
        eventually(SOON, waiting).await;
        let seen = two.inspect(&name).await.unwrap().unwrap();
        assert_eq!((&*seen.key, seen.label.as_deref()), (&*name, Some("pod-7")));
        assert!(seen.remaining.is_some_and(|remaining| remaining <= TTL), "{seen:?}");
        let server = &cluster.servers()[primary];
        let told = server.calls(&["publish", "spublish"]).await;
        assert!(two.break_lock(&seen).await.unwrap());
        assert_eq!(server.calls(&["publish", "spublish"]).await, told + 1, "it was not handed over");
        let successor = in_time(SOON, waiter).await.unwrap().unwrap();
        assert_eq!(in_time(SOON, hangs.lost()).await, LostReason::NotOwner);
        assert!(!two.break_lock(&seen).await.unwrap(), "it was broken already");
        drop(hangs);
        assert!(successor.is_held());
        successor.release().await.unwrap();
    }
}
