//! `lose`: the lock that is held, or the next one.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::{LockError, LostReason, OnLost, distributed_lock, testing::TestLocks, with_manager};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

const REASONS: [LostReason; 4] =
    [LostReason::Expired, LostReason::NotOwner, LostReason::MaxHold, LostReason::Shutdown];

fn reason_of<T: std::fmt::Debug>(result: Result<T, LockError>) -> LostReason {
    match result {
        Err(LockError::Lost { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_lock_is_lost_at_once_with_each_reason() {
    for reason in REASONS {
        let (locks, started) = (TestLocks::new(), Instant::now());
        let body = tokio::spawn(locks.manager().lock("k").run(pending::<()>()));
        yield_now().await;
        assert_eq!(locks.held(), ["k"]);
        locks.lose("k", reason);
        assert_eq!(reason_of(body.await.unwrap()), reason);
        locks.assert_released("k").await;
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert_eq!(locks.manager().failed_releases(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_the_next_lock_ends_at_its_first_wait() {
    for reason in REASONS {
        let (locks, step) = (TestLocks::new(), Arc::new(AtomicUsize::new(0)));
        locks.lose("k", reason);
        let steps = Arc::clone(&step);
        let body = async move {
            steps.store(1, Ordering::SeqCst);
            std::future::ready(()).await;
            steps.store(2, Ordering::SeqCst);
            yield_now().await;
            steps.store(3, Ordering::SeqCst);
        };
        assert_eq!(reason_of(locks.manager().lock("k").run(body).await), reason);
        assert_eq!(step.load(Ordering::SeqCst), 2);
        locks.assert_released("k").await;
    }
}

#[tokio::test]
async fn a_body_that_never_waits_is_lost_too() {
    let locks = TestLocks::new();
    locks.lose("k", LostReason::Expired);
    assert_eq!(reason_of(locks.manager().lock("k").run(async { 7 }).await), LostReason::Expired);
}

#[tokio::test]
async fn one_call_loses_one_lock_of_one_key() {
    let locks = TestLocks::new();
    locks.lose("k", LostReason::Expired);
    locks.manager().lock("another").run(async {}).await.unwrap();
    reason_of(locks.manager().lock("k").run(async {}).await);
    locks.assert_released("k").await;
    locks.manager().lock("k").run(async {}).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_guard_says_that_it_is_lost() {
    for reason in REASONS {
        let locks = TestLocks::new();
        let held = locks.manager().lock("k").acquire().await.unwrap();
        assert!(held.is_held());
        locks.lose("k", reason);
        assert!(!held.is_held());
        assert_eq!(held.lost().await, reason);
        assert_eq!(reason_of(held.release().await), reason);

        locks.lose("k", reason);
        let next = locks.manager().lock("k").acquire().await.unwrap();
        assert_eq!((next.is_held(), next.remaining()), (false, Duration::ZERO));
        assert_eq!(next.lost().await, reason);
        assert_eq!(reason_of(next.renew().await), reason);
    }
}

#[distributed_lock(key = "k", on_lost = finish, guard = lock)]
async fn in_batches() -> Result<u32, LockError> {
    for batch in 0..10 {
        if !lock.is_held() {
            return Ok(batch);
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(10)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_to_finish_learns_of_the_loss_from_its_guard() {
    let locks = TestLocks::new();
    assert_eq!(with_manager(locks.manager(), in_batches()).await.unwrap(), 10);
    locks.lose("k", LostReason::NotOwner);
    assert_eq!(with_manager(locks.manager(), in_batches()).await.unwrap(), 0);
    let call = tokio::spawn(with_manager(locks.manager(), in_batches()));
    sleep(Duration::from_millis(3500)).await;
    locks.lose("k", LostReason::NotOwner);
    assert_eq!(call.await.unwrap().unwrap(), 4);
    locks.assert_released("k").await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_to_finish_returns_its_value() {
    let locks = TestLocks::new();
    locks.lose("k", LostReason::Expired);
    let finish = locks.manager().lock("k").on_lost(OnLost::Finish).run(async { 7 });
    assert_eq!(finish.await.unwrap(), 7);
    locks.assert_released("k").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_another_thread_is_lost() {
    let locks = TestLocks::new();
    for round in 0..100 {
        let body = tokio::spawn(locks.manager().lock("k").run(pending::<()>()));
        // Sometimes before the grant, sometimes after it.
        if round % 2 == 0 {
            yield_now().await;
        }
        locks.lose("k", LostReason::NotOwner);
        assert_eq!(reason_of(body.await.unwrap()), LostReason::NotOwner);
        locks.assert_released("k").await;
    }
}
