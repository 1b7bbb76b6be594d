//! A release that is dropped, fails or hangs is finished, and delays nothing else.

use std::{
    future::pending,
    pin::pin,
    time::{Duration, Instant},
};

use distlock::{
    Acquired, Holder, Key, LockError, LockManager, MemoryStore, OwnerToken, Release, Store, StoreFuture,
    distributed_lock,
};
use test_support::{Proxy, RedisServer, eventually};

use crate::{SOON, TTL, is_freed, manager, poll_once};

#[tokio::test]
async fn a_release_dropped_midway_is_finished() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = manager(proxy.url()).await;
    let guard = locks.lock("k").acquire().await.unwrap();
    proxy.let_requests_flow(false);
    {
        let mut release = pin!(guard.release());
        assert!(poll_once(release.as_mut()).await.is_pending());
    }
    assert!(server.has("lock:k").await);
    proxy.let_requests_flow(true);
    is_freed(&server).await;
}

/// A client notices that the server has closed an idle connection when it uses the connection next, and that
/// may be a release.
#[tokio::test]
async fn a_release_over_a_broken_connection_frees_the_key() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let guard = locks.lock("guard").acquire().await.unwrap();
    locks.lock("body").run(server.command::<u8>(&["CLIENT", "KILL", "TYPE", "normal"])).await.unwrap();
    eventually(SOON, || async { server.keys().await == ["lock:guard"] }).await;
    server.command::<u8>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    drop(guard);
    is_freed(&server).await;
    assert_eq!(locks.failed_releases(), 0);
}

#[tokio::test]
async fn a_failed_release_is_repeated_and_the_call_returns_its_value() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::builder().url(proxy.url()).ttl(TTL).response_timeout(Duration::from_millis(200));
    let locks = locks.connect().await.unwrap();
    for release in [Release::Confirmed, Release::Background] {
        let value = locks.lock("k").release(release).run(async {
            proxy.lose_requests();
            42
        });
        assert_eq!(value.await.unwrap(), 42);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(server.has("lock:k").await, "the first release is lost");
        proxy.let_requests_flow(true);
        is_freed(&server).await;
        assert_eq!(locks.failed_releases(), 0);
    }
}

#[tokio::test]
async fn a_release_that_fails_until_its_ttl_is_over_is_counted() {
    for release in [Release::Confirmed, Release::Background] {
        let mut server = RedisServer::start();
        let locks = LockManager::builder().url(server.url()).ttl(Duration::from_secs(2));
        let locks = locks.connect().await.unwrap();
        let (server_ref, start) = (&mut server, Instant::now());
        locks.lock("k").release(release).run(async { server_ref.stop() }).await.unwrap();
        eventually(SOON, || async { locks.failed_releases() == 1 }).await;
        // It was sent again as long as there was time.
        assert!(start.elapsed() > Duration::from_secs(1), "{:?}", start.elapsed());
    }
}

#[distributed_lock(key = "in-background", release = "background", locks = locks)]
async fn in_background(locks: &LockManager) -> Result<(), LockError> {
    tokio::task::yield_now().await;
    Ok(())
}

#[tokio::test]
async fn a_background_release_comes_before_a_later_acquire() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = manager(proxy.url()).await;
    for _ in 0..100 {
        // Without `wait`: each call finds the key free.
        in_background(&locks).await.unwrap();
    }
    locks
        .lock("k")
        .release(Release::Background)
        .run(async {
            proxy.let_replies_flow(false);
        })
        .await
        .unwrap();
    proxy.let_replies_flow(true);
    is_freed(&server).await;
    assert_eq!(locks.failed_releases(), 0);
}

/// A store that never answers a release of the keys with a prefix.
struct HangsOn(MemoryStore, &'static str);

impl Store for HangsOn {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.0.acquire(key, owner, ttl, fenced)
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.0.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        if key.name().starts_with(self.1) { Box::pin(pending()) } else { self.0.release(key, owner) }
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.0.inspect(key)
    }
}

#[tokio::test(start_paused = true)]
async fn unanswered_releases_delay_no_other_and_are_given_up_after_their_ttl() {
    const HUNG: u64 = 2000;
    let locks = LockManager::builder().store(HangsOn(MemoryStore::new(), "hung")).build().unwrap();
    let start = tokio::time::Instant::now();
    for number in 0..HUNG {
        drop(locks.lock(format!("hung:{number}")).acquire().await.unwrap());
    }
    drop(locks.lock("free").acquire().await.unwrap());
    drop(locks.lock("free").wait(SOON).acquire().await.unwrap());
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
    tokio::time::sleep(TTL).await;
    assert_eq!(locks.failed_releases(), HUNG);
}
