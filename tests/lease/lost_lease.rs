//! A body never outlives its lease unnoticed, and keeps it for as long as it runs.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use distlock::{
    Acquired, Holder, Key, LockError, LockManager, LostReason, MemoryStore, OnLost, OwnerToken, Store,
    StoreError, StoreErrorKind, StoreFuture, distributed_lock,
};
use test_support::{Proxy, RedisServer, eventually, in_time};

const SOON: Duration = Duration::from_secs(5);
/// Enough for whatever happens on a paused clock.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How a call lost its lease, which it must say in time.
async fn lost(within: Duration, call: impl Future<Output = Result<(), LockError>>) -> LostReason {
    match in_time(within, call).await {
        Err(LockError::Lost { reason, .. }) => reason,
        other => panic!("expected a lost lock, not {other:?}"),
    }
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[distributed_lock(key = "job", ttl = "300ms", locks = locks)]
async fn endless(locks: &LockManager, _dropped: Dropped) -> Result<(), LockError> {
    std::future::pending().await
}

#[distributed_lock(key = "job", ttl = "300ms", on_lost = finish, guard = lock, locks = locks)]
async fn finishes(locks: &LockManager) -> Result<LostReason, LockError> {
    Ok(lock.lost().await)
}

#[tokio::test]
async fn a_deleted_key_stops_the_body() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let dropped = Arc::new(AtomicBool::new(false));
    let call = endless(&locks, Dropped(Arc::clone(&dropped)));
    let delete = async {
        eventually(SOON, || async { server.has("lock:job").await }).await;
        server.command::<u8>(&["DEL", "lock:job"]).await;
    };
    let (reason, ()) = tokio::join!(lost(SOON, call), delete);
    assert_eq!(reason, LostReason::NotOwner);
    assert!(dropped.load(Ordering::SeqCst), "the body was dropped before the call returned");
    assert!(!server.has("lock:job").await, "a renewal never makes the key anew");
}

#[tokio::test]
async fn a_key_taken_over_stops_the_body_and_stays_as_it_is() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let call = endless(&locks, Dropped(Arc::default()));
    let take = async {
        eventually(SOON, || async { server.has("lock:job").await }).await;
        server.command::<()>(&["SET", "lock:job", "somebody else"]).await;
    };
    let (reason, ()) = tokio::join!(lost(SOON, call), take);
    assert_eq!(reason, LostReason::NotOwner);
    assert_eq!(server.command::<String>(&["GET", "lock:job"]).await, "somebody else");
    assert_eq!(server.command::<i64>(&["PTTL", "lock:job"]).await, -1);
}

#[tokio::test]
async fn on_lost_finish_lets_the_body_end_and_tells_it() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let delete = async {
        eventually(SOON, || async { server.has("lock:job").await }).await;
        server.command::<u8>(&["DEL", "lock:job"]).await;
    };
    let (result, ()) = tokio::join!(in_time(SOON, finishes(&locks)), delete);
    assert_eq!(result.unwrap(), LostReason::NotOwner);
}

#[tokio::test]
async fn a_server_that_stops_answering_ends_the_body_within_its_validity() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let pause = async {
        eventually(SOON, || async { server.has("lock:job").await }).await;
        server.pause();
    };
    let (reason, ()) = tokio::join!(lost(SOON, endless(&locks, Dropped(Arc::default()))), pause);
    assert_eq!(reason, LostReason::Expired);
    server.resume();
    eventually(SOON, || async { !server.has("lock:job").await }).await;
}

#[tokio::test]
async fn a_body_of_many_ttls_keeps_its_lock() {
    let server = RedisServer::start();
    let (locks, rival) = (
        LockManager::connect(server.url()).await.unwrap(),
        LockManager::connect(server.url()).await.unwrap(),
    );
    let ttl = Duration::from_millis(200);
    let held = locks.lock("job").ttl(ttl).run(async {
        let end = Instant::now() + ttl * 6;
        let mut attempts = 0;
        while Instant::now() < end {
            assert!(
                rival.lock("job").try_acquire().await.unwrap().is_none(),
                "a second holder after {attempts} tries"
            );
            attempts += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        attempts
    });
    assert!(held.await.unwrap() > 10);
    assert!(rival.lock("job").try_acquire().await.unwrap().is_some());
}

#[tokio::test]
async fn renewal_errors_are_survived_while_the_lease_lasts() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let body = locks.lock("job").ttl(Duration::from_millis(900)).run(async {
        // Past the first renewal, and well before the end.
        tokio::time::sleep(Duration::from_millis(250)).await;
        server.pause();
        tokio::time::sleep(Duration::from_millis(350)).await;
        server.resume();
        tokio::time::sleep(Duration::from_millis(1200)).await;
    });
    body.await.unwrap();
}

#[tokio::test]
async fn a_renewal_that_is_answered_too_late_revives_nothing() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::connect(proxy.url()).await.unwrap();
    let ttl = Duration::from_millis(400);
    let guard = locks.lock("job").ttl(ttl).renew(false).acquire().await.unwrap();
    // The server knows the script after it.
    guard.renew().await.unwrap();
    // Sent now, it would be good for a while after the lease has ended.
    tokio::time::sleep(ttl / 2).await;
    proxy.let_replies_flow(false);
    let answer = async {
        eventually(SOON, || async { server.calls(&["pexpire"]).await == 2 }).await;
        assert!(guard.is_held());
        assert_eq!(in_time(SOON, guard.lost()).await, LostReason::Expired);
        proxy.let_replies_flow(true);
    };
    let (renewed, ()) = tokio::join!(guard.renew(), answer);
    assert!(matches!(renewed, Err(LockError::Lost { .. })), "{renewed:?}");
    assert!(!guard.is_held());
    drop(guard);
    eventually(SOON, || async { !server.has("lock:job").await }).await;
}

#[tokio::test]
async fn nothing_is_renewed_after_its_release() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let ttl = Duration::from_millis(90);
    let renewals = async || server.calls(&["evalsha", "eval"]).await;
    let released = locks.lock("job").ttl(ttl).acquire().await.unwrap();
    let dropped = locks.lock("other").ttl(ttl).acquire().await.unwrap();
    let before = renewals().await;
    eventually(SOON, || async { renewals().await >= before + 4 }).await;
    released.release().await.unwrap();
    drop(dropped);
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
    let before = renewals().await;
    tokio::time::sleep(ttl * 3).await;
    assert_eq!(renewals().await, before);
    assert_eq!(server.keys().await, [""; 0]);
}

// What needs no server runs on tokio's paused clock.

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_renewed_runs_out() {
    let locks = LockManager::in_memory();
    let start = tokio::time::Instant::now();
    let body = locks.lock("job").ttl(Duration::from_secs(10)).renew(false).run(std::future::pending());
    assert_eq!(lost(A_DAY, body).await, LostReason::Expired);
    // ttl - ttl/100 - 2 ms, and the clock's millisecond.
    assert_eq!(start.elapsed(), Duration::from_millis(9_898));
}

/// A store that grants and then answers no renewal, or answers each with an error.
struct Deaf {
    store: MemoryStore,
    hangs: bool,
    asked: Arc<AtomicU32>,
}

impl Store for Deaf {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.store.acquire(key, owner, ttl, fenced)
    }

    fn renew(&self, _key: &Key, _owner: &OwnerToken, _ttl: Duration) -> StoreFuture<bool> {
        let (hangs, asked) = (self.hangs, Arc::clone(&self.asked));
        Box::pin(async move {
            asked.fetch_add(1, Ordering::SeqCst);
            if hangs {
                std::future::pending::<()>().await;
            }
            Err(StoreError::new(StoreErrorKind::Unavailable, "not now"))
        })
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.store.release(key, owner)
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.store.inspect(key)
    }
}

#[tokio::test(start_paused = true)]
async fn renewals_that_fail_are_repeated_until_the_validity_ends_and_no_longer() {
    for hangs in [true, false] {
        let (store, asked) = (MemoryStore::new(), Arc::<AtomicU32>::default());
        let deaf = Deaf { store: store.clone(), hangs, asked: Arc::clone(&asked) };
        let locks = LockManager::builder().store(deaf).build().unwrap();
        let start = tokio::time::Instant::now();
        let body = locks.lock("job").ttl(Duration::from_secs(10)).run(std::future::pending());
        assert_eq!(lost(A_DAY, body).await, LostReason::Expired);
        assert_eq!(start.elapsed(), Duration::from_millis(9_898));
        let asked_in_time = asked.load(Ordering::SeqCst);
        assert!((2..50).contains(&asked_in_time), "{asked_in_time} renewals");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(asked.load(Ordering::SeqCst), asked_in_time, "what is lost is not renewed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lease_lasts() {
    let locks = LockManager::in_memory();
    let guard = locks.lock("job").ttl(Duration::from_secs(10)).acquire().await.unwrap();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert!(guard.is_held());
        assert!(guard.remaining() > Duration::from_secs(6));
        assert!(locks.lock("job").try_acquire().await.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn max_hold_ends_a_renewed_lease() {
    let locks = LockManager::in_memory();
    let start = tokio::time::Instant::now();
    let request = locks.lock("job").ttl(Duration::from_secs(10)).max_hold(Duration::from_secs(60));
    assert_eq!(lost(A_DAY, request.run(std::future::pending())).await, LostReason::MaxHold);
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    assert!(locks.lock("job").try_acquire().await.unwrap().is_some(), "and the key is free");
}

#[tokio::test(start_paused = true)]
async fn a_manual_renewal_starts_the_ttl_anew() {
    let locks = LockManager::in_memory();
    let guard = locks.lock("job").ttl(Duration::from_secs(10)).renew(false).acquire().await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    guard.renew().await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(guard.is_held());
    assert_eq!(in_time(A_DAY, guard.lost()).await, LostReason::Expired);
    assert!(matches!(guard.renew().await, Err(LockError::Lost { .. })), "what is lost stays lost");
    assert!(!guard.is_held());
    assert!(matches!(guard.release().await, Err(LockError::Lost { reason: LostReason::Expired, .. })));
}

#[tokio::test(start_paused = true)]
async fn at_least_keeps_the_key_without_delaying_the_return() {
    let locks = LockManager::in_memory();
    let start = tokio::time::Instant::now();
    let at_least = Duration::from_secs(5);
    locks.lock("job").ttl(Duration::from_secs(10)).at_least(at_least).run(async {}).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(4_999)).await;
    assert!(locks.lock("job").try_acquire().await.unwrap().is_none());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(locks.lock("job").try_acquire().await.unwrap().is_some());
}

#[tokio::test]
async fn a_body_that_blocks_its_thread_past_the_lease_did_not_run_alone() {
    let locks = LockManager::in_memory();
    let body = locks.lock("job").ttl(Duration::from_millis(50)).run(async {
        std::thread::sleep(Duration::from_millis(120));
    });
    assert_eq!(lost(A_DAY, body).await, LostReason::Expired);
}

#[tokio::test]
async fn a_body_is_not_polled_again_after_its_lease() {
    let locks = LockManager::in_memory();
    let polls = AtomicU32::new(0);
    let body = locks.lock("job").ttl(Duration::from_millis(50)).run(async {
        polls.fetch_add(1, Ordering::SeqCst);
        // Holds up the keeper too: only the check before the next poll is left.
        std::thread::sleep(Duration::from_millis(120));
        tokio::task::yield_now().await;
        polls.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(lost(A_DAY, body).await, LostReason::Expired);
    assert_eq!(polls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn on_lost_finish_returns_the_value_after_the_lease() {
    let locks = LockManager::in_memory();
    let request = locks.lock("job").ttl(Duration::from_secs(1)).renew(false).on_lost(OnLost::Finish);
    let value = request.run(async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        7
    });
    assert_eq!(value.await.unwrap(), 7);
}
