//! After a failover, the new primary grants nothing until the leases that it may not know are over.

use std::time::Duration;

use distlock::{LockError, LockManager, StoreErrorKind};
use test_support::{RedisServer, Watched, eventually, in_time};

use crate::SOON;

const TTL: Duration = Duration::from_secs(7);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_not_replicated_runs_out_before_the_key_is_granted_again() {
    let mut watched = Watched::start().await;
    let without = LockManager::connect(watched.url()).await.unwrap();
    let with =
        LockManager::builder().url(watched.url()).failover_delay(TTL).ttl(TTL).connect().await.unwrap();
    let kept = without.lock("kept").ttl(TTL).acquire().await.unwrap();
    for replica in &watched.servers[1..] {
        eventually(SOON, async || replica.has("lock:kept").await).await;
    }
    // From now on nothing is replicated.
    let at = watched.named_by(0).await;
    watched.servers[1].pause();
    watched.servers[2].pause();
    watched.servers[at].command::<u32>(&["CLIENT", "KILL", "TYPE", "replica"]).await;
    let forgotten = without.lock("k").ttl(TTL).renew(false).acquire().await.unwrap();
    watched.servers[at].stop();
    watched.servers[1].resume();
    watched.servers[2].resume();
    assert!(forgotten.is_held());
    let next = in_time(SOON, with.lock("k").wait(SOON).acquire()).await.unwrap();
    assert!(!forgotten.is_held(), "{:?} were left", forgotten.remaining());
    // Renewal went on meanwhile.
    assert!(kept.is_held());
    kept.release().await.unwrap();
    next.release().await.unwrap();
}

#[tokio::test]
async fn the_delay_counts_from_the_first_meeting_for_all_managers() {
    let server = RedisServer::start();
    let url = format!("{}?failover_delay=3s&ttl=1s", server.url());
    let connect = || async { LockManager::connect(&url).await.unwrap() };
    let first = connect().await;
    let error = first.lock("k").acquire().await.unwrap_err();
    let LockError::Store { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), StoreErrorKind::Unavailable);
    assert!(error.to_string().contains("failover_delay"), "{error}");
    let start = std::time::Instant::now();
    // A call waits through the delay, although that is longer than its ttl.
    first.lock("k").wait(SOON).acquire().await.unwrap().release().await.unwrap();
    assert!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
    // Later managers find the record.
    let later = connect().await;
    later.lock("k").acquire().await.unwrap().release().await.unwrap();
    assert_eq!(server.keys().await.len(), 1, "{:?}", server.keys().await);
}

#[tokio::test]
async fn no_ttl_is_above_the_delay() {
    let builder = || LockManager::builder().url("redis://localhost").failover_delay(Duration::from_secs(5));
    let error = builder().ttl(Duration::from_secs(6)).build().unwrap_err().to_string();
    assert!(error.contains("failover_delay"), "{error}");
    let locks = builder().ttl(Duration::from_secs(5)).build().unwrap();
    let error = locks.lock("k").ttl(Duration::from_secs(6)).acquire().await.unwrap_err();
    assert!(matches!(error, LockError::InvalidDuration { .. }), "{error}");
}
