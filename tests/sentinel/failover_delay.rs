//! After a failover, the new primary grants nothing until the leases that it may not know are over.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use distlock::{LockError, LockManager, StoreErrorKind};
use test_support::{RedisServer, Watched, eventually, in_time};
use tokio::{runtime::Builder, sync::oneshot};

use crate::SOON;

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_not_replicated_runs_out_before_the_key_is_granted_again() {
    let mut watched = Watched::start().await;
    let without = LockManager::connect(watched.url()).await.unwrap();
    let with =
        LockManager::builder().url(watched.url()).failover_delay(TTL).ttl(TTL).connect().await.unwrap();
    let kept = without.lock("kept").ttl(SOON).acquire().await.unwrap();
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
    let next = tokio::spawn(with.lock("k").wait(2 * SOON).acquire());
    // Renewal goes on meanwhile.
    eventually(SOON, async || kept.renew().await.is_ok()).await;
    assert!(!next.is_finished());
    let next = in_time(2 * SOON, next).await.unwrap().unwrap();
    assert!(!forgotten.is_held(), "{:?} were left", forgotten.remaining());
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
    let start = Instant::now();
    // A call waits through the delay, although that is longer than its ttl.
    first.lock("k").wait(SOON).acquire().await.unwrap().release().await.unwrap();
    assert!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
    // Later managers find the record.
    let later = connect().await;
    later.lock("k").acquire().await.unwrap().release().await.unwrap();
    assert_eq!(server.keys().await.len(), 1, "{:?}", server.keys().await);
}

/// A release that is sent again may be that of an owner which had handed the key over before the failover.
#[tokio::test]
async fn a_release_hands_the_key_to_nobody_during_the_delay() {
    let server = RedisServer::start_with(&["--enable-debug-command", "yes"]);
    let locks = LockManager::connect(format!("{}?failover_delay=2s&ttl=2s", server.url())).await.unwrap();
    let held = locks.lock("k").wait(SOON).acquire().await.unwrap();
    // A waiter in the queue, whose runtime stands still: it does not ask by itself.
    let (stand_still, stands_still) = oneshot::channel::<()>();
    let (stands, is_standing) = oneshot::channel();
    let (end, ends) = mpsc::channel::<()>();
    let url = server.url();
    let waiter = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let locks = runtime.block_on(LockManager::connect(url)).unwrap();
        let acquire = runtime.spawn(locks.lock("k").wait(SOON).acquire());
        runtime.block_on(stands_still).unwrap();
        stands.send(()).unwrap();
        let _ = ends.recv();
        acquire.abort();
    });
    eventually(SOON, async || server.wait_queue_of("lock:k").await.is_some()).await;
    stand_still.send(()).unwrap();
    is_standing.await.unwrap();
    // As a failover does.
    server.command::<()>(&["DEBUG", "CHANGE-REPL-ID"]).await;
    server.command::<u32>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    held.release().await.unwrap();
    assert!(!server.has("lock:k").await);
    end.send(()).unwrap();
    waiter.join().unwrap();
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
