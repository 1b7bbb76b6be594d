//! A call chain does not wait for itself.

use std::time::Duration;

use distlock::{LockError, LockManager, distributed_lock};
use test_support::in_time;
use tokio::time::Instant;

use crate::A_DAY;

#[distributed_lock(key = "outer:{id}", wait = "60s", locks = locks)]
async fn outer(locks: &LockManager, id: u8, inner_id: u8) -> Result<(), LockError> {
    tokio::task::yield_now().await;
    inner(locks, inner_id).await
}

#[distributed_lock(key = "outer:{id}", wait = "60s", locks = locks)]
async fn inner(locks: &LockManager, id: u8) -> Result<(), LockError> {
    tokio::task::yield_now().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_nested_call_for_the_same_key_fails_at_once() {
    let locks = LockManager::in_memory();
    let start = Instant::now();
    let error = outer(&locks, 1, 1).await.unwrap_err();
    assert!(matches!(&error, LockError::Reentrant { key, .. } if key == "outer:1"), "{error}");
    assert_eq!(start.elapsed(), Duration::ZERO);
    outer(&locks, 1, 2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_nested_call_fails_even_with_other_locks_in_between() {
    let locks = LockManager::in_memory();
    let nested = locks.lock("a").run(locks.lock("b").run(locks.lock("a").wait_forever().acquire()));
    // Three requests inside each other make a large future.
    assert!(matches!(in_time(A_DAY, Box::pin(nested)).await, Ok(Ok(Err(LockError::Reentrant { .. })))));
}

#[tokio::test(start_paused = true)]
async fn two_calls_side_by_side_are_not_nested() {
    let locks = LockManager::in_memory();
    let both = locks.lock("around").run(async { tokio::join!(inner(&locks, 1), inner(&locks, 1)) });
    let (one, two) = both.await.unwrap();
    one.unwrap();
    two.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_same_key_on_another_store_is_another_lock() {
    let (locks, other) = (LockManager::in_memory(), LockManager::in_memory());
    locks.lock("a").run(async { other.lock("a").acquire().await.map(drop) }).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_chain_ends_with_its_body() {
    let locks = LockManager::in_memory();
    for _ in 0..2 {
        locks.lock("a").run(async {}).await.unwrap();
        inner(&locks, 1).await.unwrap();
    }
}

#[tokio::test]
async fn a_task_that_a_body_drives_is_not_part_of_its_call_chain() {
    let locks = LockManager::in_memory();
    let body = async {
        let locks = locks.clone();
        let tasks = tokio::task::LocalSet::new();
        let other = tasks.spawn_local(async move { locks.lock("k").acquire().await.map(drop) });
        tasks.run_until(other).await.unwrap()
    };
    let error = locks.lock("k").run(body).await.unwrap().unwrap_err();
    assert!(matches!(error, LockError::Busy { .. }), "{error}");
}
