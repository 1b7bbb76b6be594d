//! A call that has gone, or a manager that ends, while the answer to a question is under way.

use std::time::Duration;

use distlock::{
    Acquired, Holder, Key, LockError, LockManager, MemoryStore, OwnerToken, Store, StoreErrorKind,
    StoreFuture,
};
use test_support::{Proxy, RedisServer, eventually, in_time};
use tokio::time::sleep;

use crate::{SOON, TTL, manager};

/// Acquires at once, and answers after a second.
#[derive(Clone)]
struct LateAnswers(MemoryStore);

impl Store for LateAnswers {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let acquire = self.0.acquire(key, owner, ttl, fenced);
        Box::pin(async move {
            let acquired = acquire.await;
            sleep(Duration::from_secs(1)).await;
            acquired
        })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.0.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.0.release(key, owner)
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.0.inspect(key)
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_arrives_after_a_shutdown_is_refused_and_released() {
    let store = LateAnswers(MemoryStore::new());
    let holder = async || store.inspect(&Key::new("lock", "k").unwrap()).await.unwrap();
    for wait in [Duration::ZERO, SOON] {
        let locks = LockManager::builder().store(store.clone()).ttl(TTL).build().unwrap();
        let call = tokio::spawn(locks.lock("k").wait(wait).acquire());
        sleep(Duration::from_millis(500)).await;
        assert!(holder().await.is_some(), "it was granted, and the answer is under way");
        locks.shutdown().await;
        let error = in_time(SOON, call).await.unwrap().expect_err("the manager was shut down");
        assert!(
            matches!(&error, LockError::Store { source, .. } if source.kind() == StoreErrorKind::ShutDown),
            "{error}"
        );
        eventually(SOON, || async { holder().await.is_none() }).await;
    }
}

/// Returns a manager whose waiters' connection goes through the second proxy, and whose other commands go
/// through the first.
async fn with_two_proxies(server: &RedisServer) -> (LockManager, [Proxy; 2]) {
    let (commands, waiters) = (Proxy::to(server.port()).await, Proxy::to(server.port()).await);
    let locks = manager(commands.url()).await;
    let port = waiters.url().trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    commands.redirect(port);
    (locks, [commands, waiters])
}

#[tokio::test]
async fn a_waiter_that_gives_up_before_its_answer_leaves_the_wait_queue() {
    let server = RedisServer::start();
    let (locks, [_commands, waiters]) = with_two_proxies(&server).await;
    let _held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let queue = || async { server.wait_queue_of("lock:k").await };
    // The first one makes the connection.
    for is_answered in [true, false] {
        waiters.let_replies_flow(is_answered);
        let waiter = tokio::spawn(locks.lock("k").wait_forever().acquire());
        eventually(SOON, || async { queue().await.is_some() }).await;
        waiter.abort();
        assert!(waiter.await.unwrap_err().is_cancelled());
        waiters.let_replies_flow(true);
        // Sooner than a queue lapses by itself.
        eventually(SOON, || async { queue().await.is_none() }).await;
    }
}

#[tokio::test]
async fn a_key_that_is_handed_to_a_waiter_that_has_left_is_released_again() {
    let server = RedisServer::start();
    let (locks, [_commands, waiters]) = with_two_proxies(&server).await;
    let held = locks.lock("k").acquire().await.unwrap();
    let waiter = tokio::spawn(locks.lock("k").wait_forever().acquire());
    eventually(SOON, || async { server.wait_queue_of("lock:k").await.is_some() }).await;
    // Its second question, after 64 ms at the latest, must not be the one that is held back: the waiter would
    // leave when that had timed out. The third comes 109 ms later at the earliest.
    sleep(Duration::from_millis(90)).await;
    // The release names the waiter, and so goes over the waiter's connection. There it is held back.
    waiters.let_requests_flow(false);
    let release = tokio::spawn(held.release());
    eventually(SOON, || async { !waiters.requests_held_back().is_empty() }).await;
    waiter.abort();
    eventually(SOON, || async { server.wait_queue_of("lock:k").await.is_none() }).await;
    waiters.let_requests_flow(true);
    in_time(SOON, release).await.unwrap().unwrap();
    // EXISTS counts a key that has lapsed as expired.
    eventually(SOON, || async { !server.has("lock:k").await }).await;
    let stats: String = server.command(&["INFO", "stats"]).await;
    assert!(stats.contains("expired_keys:0\r\n"), "the key was released and did not lapse");
}
