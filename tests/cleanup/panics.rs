//! A panic in a store or a body costs that one lease and nothing else.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use distlock::{LockError, LockManager, MemoryStore};
use tokio::time::{Instant, sleep};

use crate::{
    SOON,
    faulty_store::{Fault, FaultyStore, Operation},
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn manager() -> (FaultyStore, LockManager) {
    let store = FaultyStore::default();
    let locks = LockManager::builder().store(store.clone()).ttl(SECOND * 3).build().unwrap();
    (store, locks)
}

/// Holds a lock for many ttls, which needs the keeper.
async fn keeper_works(locks: &LockManager) {
    locks.lock("another").run(sleep(SECOND * 20)).await.expect("the keeper renews the lease");
}

pub(crate) async fn is_free(locks: &LockManager, within: Duration) {
    let deadline = Instant::now() + within;
    while locks.lock("k").try_acquire().await.unwrap().is_none() {
        assert!(Instant::now() < deadline, "the key is not free after {within:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_at_a_background_release_costs_that_lease_only() {
    let (store, locks) = manager();
    let guard = locks.lock("k").acquire().await.unwrap();
    store.set_fault(Some(Fault::Panic(Operation::Release)));
    drop(guard);
    keeper_works(&locks).await;
    assert_eq!(locks.failed_releases(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_at_a_renewal_costs_no_more_than_that_renewal() {
    let (store, locks) = manager();
    let guard = locks.lock("k").acquire().await.unwrap();
    store.set_fault(Some(Fault::Panic(Operation::Renew)));
    keeper_works(&locks).await;
    assert!(guard.is_held(), "the next renewal succeeded");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_under_a_release_that_is_awaited_leaves_the_key_to_the_keeper() {
    let (store, locks) = manager();
    let guard = locks.lock("k").ttl(SECOND * 600).acquire().await.unwrap();
    store.set_fault(Some(Fault::Panic(Operation::Release)));
    let panicked = tokio::spawn(guard.release()).await.unwrap_err();
    assert!(panicked.is_panic());
    is_free(&locks, SOON).await;
    keeper_works(&locks).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_under_an_acquire_leaves_no_key() {
    let (store, locks) = manager();
    store.set_fault(Some(Fault::Panic(Operation::Acquire)));
    let panicked = tokio::spawn(locks.lock("k").ttl(SECOND * 600).acquire()).await.unwrap_err();
    assert!(panicked.is_panic());
    is_free(&locks, SOON).await;
    keeper_works(&locks).await;
}

#[test]
fn a_release_without_a_runtime_is_an_error_and_the_keeper_releases_the_key() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let managers: [LockManager; 2] =
        [LockManager::in_memory(), LockManager::quorum((0..3).map(|_| MemoryStore::new())).unwrap()];
    for locks in managers {
        let guard = runtime.block_on(locks.lock("k").ttl(SECOND * 600).acquire()).unwrap();
        let release = pin!(guard.release());
        let Poll::Ready(Err(error)) = release.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it cannot be sent")
        };
        assert!(matches!(&error, LockError::Config { key, .. } if key == "k"), "{error}");
        runtime.block_on(is_free(&locks, SOON));
        let later = runtime.block_on(locks.lock("later").acquire()).unwrap();
        assert!(later.is_held(), "the keeper lives");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_body_costs_its_lease_only() {
    let (_, locks) = manager();
    let other = locks.lock("other").acquire().await.unwrap();
    let body = tokio::spawn({
        let locks = locks.clone();
        async move { locks.lock("k").ttl(SECOND * 600).run(async { panic!("as the test wants") }).await }
    });
    assert!(matches!(body.await.map(|_: Result<(), _>| ()), Err(error) if error.is_panic()));
    is_free(&locks, SOON).await;
    keeper_works(&locks).await;
    assert!(other.is_held());
}

#[tokio::test(start_paused = true)]
async fn a_renewal_without_a_runtime_is_an_error_and_the_lease_goes_on() {
    let locks = LockManager::quorum((0..3).map(|_| MemoryStore::new())).unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    let guard = std::thread::spawn(move || {
        let renewed = pin!(guard.renew()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(renewed, Poll::Ready(Err(LockError::Config { .. }))));
        guard
    })
    .join()
    .unwrap();
    assert!(guard.is_held());
    guard.release().await.unwrap();
}
