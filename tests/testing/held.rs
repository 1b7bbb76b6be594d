//! `held` and `assert_released`.

use std::{future::pending, time::Duration};

use distlock::{LostReason, StoreErrorKind, testing::TestLocks};
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn the_keys_that_are_held_come_sorted() {
    let locks = TestLocks::new();
    assert!(locks.held().is_empty());
    let mut guards = Vec::new();
    for key in ["b", "c", "a"] {
        guards.push(locks.manager().lock(key).acquire().await.unwrap());
    }
    locks.busy("z");
    assert_eq!(locks.held(), ["a", "b", "c"]);
    guards.pop().unwrap().release().await.unwrap();
    assert_eq!(locks.held(), ["b", "c"]);
    assert_eq!(format!("{locks:?}"), r#"TestLocks { held: ["b", "c"], .. }"#);
}

#[tokio::test]
async fn a_release_in_the_background_is_waited_for() {
    let locks = TestLocks::new();
    drop(locks.manager().lock("k").acquire().await.unwrap());
    assert_eq!(locks.held(), ["k"], "the keeper has not run yet");
    locks.assert_released("k").await;
    assert!(locks.held().is_empty());
    locks.assert_released("never held").await;
}

#[tokio::test]
async fn a_task_that_was_aborted_releases_its_key() {
    let locks = TestLocks::new();
    let task = tokio::spawn(locks.manager().lock("k").run(pending::<()>()));
    tokio::task::yield_now().await;
    task.abort();
    locks.assert_released("k").await;
}

#[tokio::test]
async fn a_key_that_is_only_busy_passes() {
    let locks = TestLocks::new();
    locks.busy("k");
    locks.assert_released("k").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "`k` is not released: a body is still running under it; its lease has 2")]
async fn a_body_that_still_runs_is_named() {
    let locks = TestLocks::new();
    let _task = tokio::spawn(locks.manager().lock("k").run(pending::<()>()));
    tokio::task::yield_now().await;
    locks.assert_released("k").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "`k` is not released: a guard still holds it; its lease has 2")]
async fn a_guard_that_was_not_dropped_is_named() {
    let locks = TestLocks::new();
    let _guard = locks.manager().lock("k").acquire().await.unwrap();
    locks.assert_released("k").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "`k` is not released: a guard still holds it")]
async fn a_guard_that_was_told_of_a_loss_still_holds_its_key() {
    let locks = TestLocks::new();
    let _guard = locks.manager().lock("k").acquire().await.unwrap();
    locks.lose("k", LostReason::MaxHold);
    locks.assert_released("k").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "no body and no guard holds it, but its release fails as Unreachable")]
async fn a_release_that_fails_is_named() {
    let locks = TestLocks::new();
    let guard = locks.manager().lock("k").acquire().await.unwrap();
    locks.fail("k", StoreErrorKind::Unreachable);
    drop(guard);
    locks.assert_released("k").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "no body and no guard holds it, but `at_least` keeps it")]
async fn at_least_is_named() {
    let locks = TestLocks::new();
    locks.manager().lock("k").at_least(Duration::from_secs(20)).run(async {}).await.unwrap();
    locks.assert_released("k").await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "held.rs:")]
async fn the_failing_line_is_named() {
    let locks = TestLocks::new();
    let _guard = locks.manager().lock("k").acquire().await.unwrap();
    locks.assert_released("k").await;
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_release_is_one_second_at_the_most() {
    let locks = TestLocks::new();
    let task = tokio::spawn(locks.manager().lock("k").run(sleep(Duration::from_millis(900))));
    tokio::task::yield_now().await;
    let started = Instant::now();
    locks.assert_released("k").await;
    assert_eq!(started.elapsed(), Duration::from_millis(900));
    task.await.unwrap().unwrap();
    let _guard = locks.manager().lock("k").acquire().await.unwrap();
    let started = Instant::now();
    let asserted = tokio::spawn(locks.assert_released("k"));
    assert!(asserted.await.unwrap_err().is_panic());
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}
