//! A lease counts when replicas have it.

use std::time::Duration;

use distlock::{LockError, LockManager, StoreErrorKind};
use test_support::{RedisServer, eventually, in_time};

use crate::SOON;

/// A primary with two replicas.
struct Replicated {
    primary: RedisServer,
    replicas: [RedisServer; 2],
}

impl Replicated {
    async fn start() -> Self {
        let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
        let port = primary.port().to_string();
        let replicas = [(); 2].map(|()| RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]));
        // A replica that is still loading is late.
        primary.command::<()>(&["SET", "loaded", ""]).await;
        for replica in &replicas {
            eventually(SOON, async || replica.has("loaded").await).await;
        }
        Self { primary, replicas }
    }

    /// A manager that waits for this many replicas, for half a second.
    async fn locks(&self, count: u32) -> LockManager {
        let url = format!("{}?replicas={count}&response_timeout=1s", self.primary.url());
        LockManager::connect(url).await.unwrap()
    }
}

fn kind(error: &LockError) -> StoreErrorKind {
    let LockError::Store { source, .. } = error else { panic!("{error}") };
    source.kind()
}

#[tokio::test]
async fn a_lock_that_a_replica_does_not_have_is_given_back() {
    let servers = Replicated::start().await;
    let (both, one) = (servers.locks(2).await, servers.locks(1).await);
    for fenced in [false, true] {
        let lock = || if fenced { both.lock("k").fenced() } else { both.lock("k") };
        lock().wait(SOON).acquire().await.unwrap().release().await.unwrap();
        servers.replicas[0].pause();
        // All connections of the pool have written before.
        for _ in 0..3 {
            let error = lock().acquire().await.unwrap_err();
            assert_eq!(kind(&error), StoreErrorKind::NotReplicated, "{error}");
            assert!(error.to_string().contains("1 replicas have the lease"), "{error}");
            assert!(!servers.primary.has("lock:k").await);
        }
        one.lock("k").wait(SOON).acquire().await.unwrap().release().await.unwrap();
        servers.replicas[0].resume();
        // A call that waits tries again.
        let waited = in_time(SOON, lock().wait(SOON).acquire()).await.unwrap();
        waited.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_renewal_that_a_replica_does_not_have_does_not_count() {
    let servers = Replicated::start().await;
    let locks = servers.locks(2).await;
    let guard = locks.lock("k").ttl(Duration::from_secs(2)).wait(SOON).acquire().await.unwrap();
    // It is renewed.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(guard.is_held());
    servers.replicas[0].pause();
    in_time(SOON, guard.lost()).await;
    servers.replicas[0].resume();
}

#[tokio::test]
async fn a_hand_over_counts_when_the_replicas_have_it() {
    let servers = Replicated::start().await;
    let (locks, other) = (servers.locks(2).await, servers.locks(2).await);
    for from in [&other, &locks] {
        let held = from.lock("k").wait(SOON).acquire().await.unwrap();
        let waiter = tokio::spawn(locks.lock("k").wait(SOON).acquire());
        eventually(SOON, async || servers.primary.wait_queue_of("lock:k").await.is_some()).await;
        servers.replicas[0].pause();
        held.release().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!waiter.is_finished());
        servers.replicas[0].resume();
        in_time(SOON, waiter).await.unwrap().unwrap().release().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_forbids_wait_is_refused_by_name() {
    let server = RedisServer::start();
    server.command::<()>(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-wait"]).await;
    let url = format!("redis://app:pw@127.0.0.1:{}/?replicas=1", server.port());
    let error = LockManager::connect(url).await.unwrap_err();
    assert!(matches!(error, LockError::Config { .. }) && error.to_string().contains("`+wait`"), "{error}");
}
