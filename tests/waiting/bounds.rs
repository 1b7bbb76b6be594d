//! A call waits until the key is free, and no longer than its bound.

use std::time::Duration;

use distlock::{Acquired, Holder, Key, LockError, LockManager, MemoryStore, OwnerToken, Store, StoreFuture};
use test_support::in_time;
use tokio::time::Instant;

use crate::{SECOND, wait_for};

/// Two managers of one store, as of two processes.
pub(crate) fn rivals() -> (LockManager, LockManager) {
    let store = MemoryStore::new();
    let manager = || LockManager::builder().store(store.clone()).build().unwrap();
    (manager(), manager())
}

#[tokio::test(start_paused = true)]
async fn without_wait_a_busy_key_is_reported_at_once() {
    let (locks, rival) = rivals();
    let _held = rival.lock("k").ttl(SECOND * 20).acquire().await.unwrap();
    let start = Instant::now();
    let error = locks.lock("k").acquire().await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let LockError::Busy { key, waited, remaining, .. } = error else { panic!("{error}") };
    assert_eq!((key.as_str(), waited, remaining), ("k", Duration::ZERO, Some(SECOND * 20)));
}

#[tokio::test(start_paused = true)]
async fn wait_bounds_the_waiting() {
    let (locks, rival) = rivals();
    let _held = rival.lock("k").acquire().await.unwrap();
    let start = Instant::now();
    let error = in_time(SECOND * 60, locks.lock("k").wait(SECOND * 3).acquire()).await.unwrap_err();
    assert_eq!(start.elapsed(), SECOND * 3);
    assert!(
        matches!(error, LockError::Busy { waited, remaining: Some(_), .. } if waited == SECOND * 3),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn wait_bounds_the_waiting_behind_another_waiter() {
    let (locks, rival) = rivals();
    let _held = rival.lock("k").ttl(SECOND * 20).acquire().await.unwrap();
    let contender = wait_for(locks.lock("k"));
    tokio::time::sleep(SECOND).await;
    let start = Instant::now();
    let error = in_time(SECOND * 60, locks.lock("k").wait(SECOND).acquire()).await.unwrap_err();
    assert_eq!(start.elapsed(), SECOND);
    assert!(
        matches!(error, LockError::Busy { remaining: Some(_), .. }),
        "the contender has told what it knows of the holder: {error}"
    );
    contender.abort();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gets_the_key_when_the_lease_lapses() {
    let (locks, rival) = rivals();
    let held = rival.lock("k").ttl(SECOND * 10).renew(false).acquire().await.unwrap();
    let start = Instant::now();
    let guard = in_time(SECOND * 60, locks.lock("k").wait_forever().acquire()).await.unwrap();
    assert!(start.elapsed() >= SECOND * 10 && start.elapsed() < SECOND * 11, "{:?}", start.elapsed());
    assert!(guard.is_held() && !held.is_held());
}

/// Answers each acquire after a time.
struct SlowStore(MemoryStore, Duration);

impl Store for SlowStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (acquire, delay) = (self.0.acquire(key, owner, ttl, fenced), self.1);
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            acquire.await
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
async fn a_wait_shorter_than_the_first_answer_waits_for_that_answer() {
    let store = MemoryStore::new();
    let rival = LockManager::builder().store(store.clone()).build().unwrap();
    let locks = LockManager::builder().store(SlowStore(store, SECOND / 2)).build().unwrap();
    let wait = SECOND / 10;
    locks.lock("k").wait(wait).acquire().await.unwrap().release().await.unwrap();
    let _held = rival.lock("k").acquire().await.unwrap();
    let start = Instant::now();
    let error = locks.lock("k").wait(wait).acquire().await.unwrap_err();
    assert!(matches!(error, LockError::Busy { .. }), "{error}");
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_holder_without_end_is_waited_for() {
    let store = MemoryStore::new();
    let rival = LockManager::builder().store(store.clone()).build().unwrap();
    let held = rival.lock("k").acquire().await.unwrap();
    let locks = LockManager::builder().store(EndlessStore(store)).build().unwrap();
    let waiter = wait_for(locks.lock("k"));
    tokio::time::sleep(SECOND).await;
    held.release().await.unwrap();
    in_time(SECOND * 5, waiter).await.unwrap().release().await.unwrap();
}

/// Says of each holder that its lease lasts longer than any clock can count.
struct EndlessStore(MemoryStore);

impl Store for EndlessStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let acquire = self.0.acquire(key, owner, ttl, fenced);
        Box::pin(async move {
            Ok(match acquire.await? {
                Acquired::Busy { .. } => Acquired::busy(Some(Duration::MAX)),
                granted => granted,
            })
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
