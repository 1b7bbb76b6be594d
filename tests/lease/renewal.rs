//! A lease is renewed for as long as its body runs, and no longer.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use distlock::{
    Acquired, Holder, Key, LockError, LockManager, LostReason, MemoryStore, OwnerToken, Store, StoreError,
    StoreErrorKind, StoreFuture,
};
use test_support::{Proxy, RedisServer, eventually, in_time};
use tokio::time::Instant;

use crate::{A_DAY, SOON, lost};

#[tokio::test]
async fn a_body_keeps_its_lock_for_many_ttls() {
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
                "a second holder after {attempts} attempts"
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
async fn a_server_that_hangs_for_less_than_the_validity_does_not_end_the_body() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let body = locks.lock("job").ttl(Duration::from_millis(900)).run(async {
        // After the first renewal, and long before the lease ends.
        tokio::time::sleep(Duration::from_millis(250)).await;
        server.pause();
        tokio::time::sleep(Duration::from_millis(350)).await;
        server.resume();
        tokio::time::sleep(Duration::from_millis(1200)).await;
    });
    body.await.unwrap();
}

#[tokio::test]
async fn a_renewal_answered_after_the_lease_does_not_revive_it() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::connect(proxy.url()).await.unwrap();
    let ttl = Duration::from_millis(400);
    let guard = locks.lock("job").ttl(ttl).renew(false).acquire().await.unwrap();
    // Loads the script into the server.
    guard.renew().await.unwrap();
    // If the renewal below counted, the lease would be valid for half a ttl more.
    tokio::time::sleep(ttl / 2).await;
    let renewals = server.calls(&["pexpire"]).await;
    proxy.let_replies_flow(false);
    let answer = async {
        eventually(SOON, || async { server.calls(&["pexpire"]).await > renewals }).await;
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
async fn a_released_lease_is_not_renewed() {
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

#[tokio::test(start_paused = true)]
async fn a_lease_without_renewal_ends_with_its_validity() {
    let locks = LockManager::in_memory();
    let start = Instant::now();
    let body = locks.lock("job").ttl(Duration::from_secs(10)).renew(false).run(std::future::pending());
    assert_eq!(lost(A_DAY, body).await, LostReason::Expired);
    // The validity is ttl - ttl/100 - 2 ms.
    assert_eq!(start.elapsed(), Duration::from_millis(9_898));
}

/// A store that grants, and never answers a renewal or answers each with an error.
struct WithoutRenewals {
    store: MemoryStore,
    hangs: bool,
    asked: Arc<AtomicU32>,
}

impl Store for WithoutRenewals {
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
async fn failed_renewals_are_repeated_until_the_validity_ends() {
    for hangs in [true, false] {
        let (store, asked) = (MemoryStore::new(), Arc::<AtomicU32>::default());
        let without = WithoutRenewals { store: store.clone(), hangs, asked: Arc::clone(&asked) };
        let locks = LockManager::builder().store(without).build().unwrap();
        let start = Instant::now();
        let body = locks.lock("job").ttl(Duration::from_secs(10)).run(std::future::pending());
        assert_eq!(lost(A_DAY, body).await, LostReason::Expired);
        assert_eq!(start.elapsed(), Duration::from_millis(9_898));
        let asked_in_time = asked.load(Ordering::SeqCst);
        assert!((2..50).contains(&asked_in_time), "{asked_in_time} renewals");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(asked.load(Ordering::SeqCst), asked_in_time, "a lost lease is not renewed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewed_lease_outlasts_its_ttl() {
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
async fn a_manual_renewal_starts_the_ttl_anew() {
    let locks = LockManager::in_memory();
    let guard = locks.lock("job").ttl(Duration::from_secs(10)).renew(false).acquire().await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    guard.renew().await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(guard.is_held());
    assert_eq!(in_time(A_DAY, guard.lost()).await, LostReason::Expired);
    assert!(matches!(guard.renew().await, Err(LockError::Lost { .. })), "a lost lease stays lost");
    assert!(!guard.is_held());
    assert!(matches!(guard.release().await, Err(LockError::Lost { reason: LostReason::Expired, .. })));
}

/// A store that notes when each renewal is sent.
struct NotesRenewals {
    store: MemoryStore,
    renewals: Arc<Mutex<Vec<Instant>>>,
}

impl Store for NotesRenewals {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.store.acquire(key, owner, ttl, fenced)
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.renewals.lock().unwrap().push(Instant::now());
        self.store.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.store.release(key, owner)
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.store.inspect(key)
    }
}

#[tokio::test(start_paused = true)]
async fn renewals_of_leases_acquired_in_one_instant_are_spread() {
    const LEASES: usize = 10_000;
    const BINS: usize = 20;
    let renewals = Arc::<Mutex<Vec<Instant>>>::default();
    let store = NotesRenewals { store: MemoryStore::new(), renewals: Arc::clone(&renewals) };
    let locks = LockManager::builder().store(store).build().unwrap();
    let (ttl, start) = (Duration::from_secs(30), Instant::now());
    let mut guards = Vec::new();
    for number in 0..LEASES {
        guards.push(locks.lock(number.to_string()).ttl(ttl).acquire().await.unwrap());
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    for third in 1..=4_u32 {
        tokio::time::sleep_until(start + ttl / 3 * third + Duration::from_millis(5)).await;
        let sent = std::mem::take(&mut *renewals.lock().unwrap());
        assert_eq!(sent.len(), LEASES, "each lease once in third {third} of its ttl");
        let mut bins = [0; BINS + 1];
        for at in sent {
            let since = (at - start).saturating_sub(ttl / 3 * (third - 1)).as_millis();
            bins[usize::try_from(since).unwrap() * BINS / 10_000] += 1;
        }
        assert!(bins.iter().all(|bin| *bin <= 2 * LEASES / BINS), "in third {third}: {bins:?}");
    }
}
