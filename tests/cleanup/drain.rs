//! A manager that is drained refuses new calls, and lets running bodies finish.

use std::{sync::Arc, time::Duration};

use distlock::{LockError, LockGuard, LockManager, LostReason, MemoryStore, StoreErrorKind};
use test_support::RedisServer;
use tokio::{sync::Notify, time::Instant};

use crate::SOON;

fn is_refused(call: &Result<LockGuard, LockError>) -> bool {
    matches!(call, Err(LockError::Store { source, .. }) if source.kind() == StoreErrorKind::ShutDown)
}

/// Lets all tasks run until they wait.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test]
async fn a_drain_lets_bodies_and_guards_finish() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let guard = locks.lock("guard").acquire().await.unwrap();
    let (inside, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let body = tokio::spawn(locks.lock("body").run({
        let (inside, go_on) = (Arc::clone(&inside), Arc::clone(&go_on));
        async move {
            inside.notify_one();
            go_on.notified().await;
            "done"
        }
    }));
    inside.notified().await;
    let drain = tokio::spawn({
        let locks = locks.clone();
        async move { locks.drain(Duration::from_secs(600)).await }
    });
    while !is_refused(&locks.lock("new").acquire().await) {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    assert_eq!(body.await.unwrap().unwrap(), "done");
    assert!(guard.is_held() && !drain.is_finished());
    drop(guard);
    tokio::time::timeout(SOON, drain).await.unwrap().unwrap();
    assert_eq!(server.keys().await, [""; 0], "the keys are free when the drain returns");
    assert_eq!(locks.failed_releases(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_refuses_waiters_at_once() {
    let store = MemoryStore::new();
    let other = LockManager::builder().store(store.clone()).build().unwrap();
    let locks = LockManager::builder().store(store).build().unwrap();
    let _holder = other.lock("order:42").acquire().await.unwrap();
    let waiters: Vec<_> =
        (0..3).map(|_| tokio::spawn(locks.lock("order:42").wait_forever().acquire())).collect();
    settle().await;
    let began = Instant::now();
    locks.drain(Duration::ZERO).await;
    for waiter in waiters {
        assert!(is_refused(&waiter.await.unwrap()));
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_drained_may_lock_other_keys() {
    let locks = LockManager::in_memory();
    let body = tokio::spawn(locks.lock("outer").run({
        let locks = locks.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            locks.lock("inner").wait(SOON).run(async { "done" }).await
        }
    }));
    settle().await;
    let began = Instant::now();
    locks.drain(Duration::from_secs(600)).await;
    assert_eq!(body.await.unwrap().unwrap().unwrap(), "done");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(is_refused(&locks.lock("new").acquire().await));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_outlasts_the_drain_is_told() {
    let locks = LockManager::in_memory();
    let body = tokio::spawn(locks.lock("body").run(std::future::pending::<()>()));
    settle().await;
    let began = Instant::now();
    locks.drain(Duration::from_secs(20)).await;
    assert_eq!(began.elapsed().as_secs(), 20);
    assert!(matches!(body.await.unwrap(), Err(LockError::Lost { reason: LostReason::Shutdown, .. })));
}
