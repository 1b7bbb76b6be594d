//! A lease that is renewed comes back to the nodes that have lost it.

use std::{sync::atomic::Ordering, time::Duration};

use distlock::{LockError, LockManager, LostReason};
use test_support::{RedisServer, eventually, in_time};
use tokio::time::sleep;

use crate::{NEVER, SOON, late_node::late_nodes_in_order, nodes_with, quorum, servers};

/// The ttl, which is also the restart delay.
const TTL: Duration = Duration::from_secs(1);

/// Waits until the servers are past their restart delay, by their own count of whole seconds.
async fn pass_the_delay() {
    sleep(TTL + Duration::from_secs(2)).await;
}

#[tokio::test]
async fn a_lease_outlasts_a_restart_of_all_nodes_one_at_a_time() {
    let mut servers = servers::<3>();
    let locks = quorum(&servers).ttl(TTL).restart_delay(TTL).build().unwrap();
    pass_the_delay().await;
    for fenced in [false, true] {
        let lock = locks.lock("k").wait(SOON);
        let guard = if fenced { lock.fenced().acquire() } else { lock.acquire() }.await.unwrap();
        let has_counter = async |server: &RedisServer| server.fencing_counter_of("lock:k").await.is_some();
        eventually(SOON, async || nodes_with(&servers, "lock:k").await == 3).await;
        for server in &mut servers {
            server.restart();
            assert!(!server.has("lock:k").await, "it came back with its data");
            eventually(SOON, async || server.has("lock:k").await).await;
            assert_eq!(has_counter(server).await, fenced, "a lease without a token touches no counter");
        }
        assert!(guard.is_held());
        let before = guard.fencing_token();
        in_time(SOON, guard.release()).await.unwrap();
        eventually(SOON, async || nodes_with(&servers, "lock:k").await == 0).await;
        if fenced {
            let next = locks.lock("k").wait(SOON).fenced().acquire().await.unwrap();
            assert!(next.fencing_token() > before);
        }
    }
}

#[tokio::test]
async fn a_lease_is_lost_when_all_nodes_restart_at_once() {
    let mut servers = servers::<3>();
    let locks = quorum(&servers).ttl(TTL).restart_delay(TTL).build().unwrap();
    pass_the_delay().await;
    let guard = locks.lock("k").acquire().await.unwrap();
    servers.iter_mut().for_each(RedisServer::restart);
    let lost = in_time(SOON, guard.lost()).await;
    assert!(matches!(lost, LostReason::NotOwner | LostReason::Expired), "{lost:?}");
    assert_eq!(nodes_with(&servers, "lock:k").await, 0);
}

/// Returns three servers, and a manager on them whose leases are renewed by their guards only.
fn three() -> ([RedisServer; 3], LockManager) {
    let servers = servers::<3>();
    let locks = quorum(&servers).ttl(Duration::from_secs(600)).build().unwrap();
    (servers, locks)
}

async fn forget(server: &RedisServer) {
    assert_eq!(server.command::<u8>(&["DEL", "lock:k"]).await, 1);
}

#[tokio::test]
async fn a_heal_lasts_no_longer_than_the_renewal_before_it() {
    let (servers, locks) = three();
    let guard = locks.lock("k").acquire().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 3).await;
    for server in &servers {
        forget(server).await;
        guard.renew().await.unwrap();
        eventually(SOON, async || server.has("lock:k").await).await;
        let rest: u64 = server.command(&["PTTL", "lock:k"]).await;
        assert!((590_000..=600_000).contains(&rest), "{rest}");
    }
}

#[tokio::test]
async fn a_heal_does_not_count_in_its_own_round() {
    let (servers, locks) = three();
    let guard = locks.lock("k").acquire().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 3).await;
    forget(&servers[0]).await;
    forget(&servers[1]).await;
    let lost = guard.renew().await.unwrap_err();
    assert!(matches!(lost, LockError::Lost { reason: LostReason::NotOwner, .. }), "{lost}");
    drop(guard);
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 0).await;
}

#[tokio::test]
async fn a_heal_takes_nothing_from_another_owner_and_lowers_no_counter() {
    let (servers, locks) = three();
    let guard = locks.lock("k").fenced().acquire().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 3).await;
    servers[0].command::<()>(&["SET", "lock:k", "somebody else"]).await;
    let counter = servers[1].fencing_counter_of("lock:k").await.unwrap();
    let higher: u64 = servers[1].command(&["INCRBY", &counter, "5000000000"]).await;
    guard.renew().await.unwrap();
    forget(&servers[1]).await;
    // The first node's answer keeps this round from counting, and nothing is healed.
    let lost = guard.renew().await.unwrap_err();
    assert!(matches!(lost, LockError::Lost { .. }), "{lost}");
    assert_eq!(servers[0].command::<String>(&["GET", "lock:k"]).await, "somebody else");
    drop(guard);

    servers[0].command::<u8>(&["DEL", "lock:k"]).await;
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 0).await;
    let guard = locks.lock("k").wait(SOON).fenced().acquire().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 3).await;
    let higher: u64 = servers[1].command(&["INCRBY", &counter, &higher.to_string()]).await;
    forget(&servers[1]).await;
    guard.renew().await.unwrap();
    eventually(SOON, async || servers[1].has("lock:k").await).await;
    assert_eq!(servers[1].command::<u64>(&["GET", &counter]).await, higher);
}

#[tokio::test]
async fn a_lease_that_ends_is_not_healed() {
    let (servers, locks) = three();
    let guard = locks.lock("k").at_least(Duration::from_secs(60)).acquire().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 3).await;
    forget(&servers[0]).await;
    // It shortens the lease by a renewal.
    guard.release().await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(!servers[0].has("lock:k").await);
}

#[tokio::test(start_paused = true)]
async fn a_late_heal_is_released_like_a_late_grant() {
    for in_order in [false, true] {
        let (nodes, locks) = late_nodes_in_order::<3>(in_order);
        *nodes[2].acquire_lag.lock().unwrap() = NEVER;
        // Finds the node down, so that the next acquire skips it.
        locks.lock("first").acquire().await.unwrap().release().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let guard = locks.lock("k").acquire().await.unwrap();
        *nodes[2].acquire_lag.lock().unwrap() = Duration::ZERO;
        // Until a probe has found the node.
        sleep(Duration::from_secs(3)).await;
        *nodes[2].acquire_lag.lock().unwrap() = Duration::from_millis(400);
        guard.renew().await.unwrap();
        sleep(Duration::from_millis(100)).await;
        guard.release().await.unwrap();
        sleep(Duration::from_millis(200)).await;
        assert_eq!(nodes[2].heals.load(Ordering::Relaxed), 1);
        sleep(Duration::from_secs(3)).await;
        assert!(!nodes[2].has("k").await, "the key would stay until its ttl");
    }
}
