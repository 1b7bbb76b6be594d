//! `busy` and `fail`.

use std::time::Duration;

use distlock::{
    LockError, LostReason, StoreError, StoreErrorKind, distributed_lock, testing::TestLocks, with_manager,
};
use tokio::time::{Instant, sleep};

#[distributed_lock(key = "job")]
async fn job() -> Result<u8, LockError> {
    sleep(Duration::from_secs(1)).await;
    Ok(7)
}

const KINDS: [StoreErrorKind; 11] = [
    StoreErrorKind::Unreachable,
    StoreErrorKind::Disconnected,
    StoreErrorKind::TimedOut,
    StoreErrorKind::Unavailable,
    StoreErrorKind::ReadOnly,
    StoreErrorKind::Refused,
    StoreErrorKind::WrongType,
    StoreErrorKind::Nonsense,
    StoreErrorKind::TooLate,
    StoreErrorKind::NoQuorum,
    StoreErrorKind::ShutDown,
];

fn kind_of(error: Option<LockError>) -> StoreErrorKind {
    match error {
        Some(LockError::Store { source, .. }) => source.kind(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_key_has_a_holder_with_30_s_left() {
    let locks = TestLocks::new();
    locks.busy("job");
    match with_manager(locks.manager(), job()).await {
        Err(LockError::Busy { key, remaining, .. }) => {
            assert_eq!((&*key, remaining), ("job", Some(Duration::from_secs(30))));
        }
        other => panic!("{other:?}"),
    }
    assert!(locks.manager().lock("job").try_acquire().await.unwrap().is_none());
    assert!(locks.held().is_empty(), "no call holds it");
}

#[tokio::test(start_paused = true)]
async fn all_waiters_of_a_freed_key_are_served() {
    let (locks, started) = (TestLocks::new(), Instant::now());
    locks.busy("job");
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let body = async { sleep(Duration::from_secs(1)).await };
        calls.spawn(locks.manager().lock("job").wait_forever().run(body));
    }
    sleep(Duration::from_secs(100)).await;
    locks.free("job");
    while let Some(done) = calls.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(started.elapsed().as_secs(), 103);
}

#[tokio::test(start_paused = true)]
async fn two_test_locks_have_nothing_in_common() {
    let (one, other) = (TestLocks::new(), TestLocks::new());
    one.busy("job");
    assert_eq!(with_manager(other.manager(), job()).await.unwrap(), 7);
    assert!(with_manager(one.clone().manager(), job()).await.is_err(), "a clone is the same");
}

#[tokio::test(start_paused = true)]
async fn a_store_fails_with_each_kind() {
    for kind in KINDS {
        let locks = TestLocks::new();
        locks.fail("job", kind);
        assert_eq!(kind_of(with_manager(locks.manager(), job()).await.err()), kind);
        locks.manager().lock("another").run(async {}).await.unwrap();
        locks.recover("job");
        assert_eq!(with_manager(locks.manager(), job()).await.unwrap(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_outlives_an_outage_that_may_pass() {
    for kind in KINDS {
        let (locks, started) = (TestLocks::new(), Instant::now());
        locks.fail("job", kind);
        let call = tokio::spawn(locks.manager().lock("job").wait(Duration::from_secs(10)).run(async { 7 }));
        sleep(Duration::from_secs(5)).await;
        locks.recover("job");
        let done = call.await.unwrap();
        if StoreError::new(kind, "").is_transient() {
            assert_eq!(done.unwrap(), 7, "{kind:?}");
            assert!((5..7).contains(&started.elapsed().as_secs()), "{kind:?}: {:?}", started.elapsed());
        } else {
            assert_eq!(kind_of(done.err()), kind);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_gives_up_with_the_error_of_an_outage_that_stays() {
    let (locks, started) = (TestLocks::new(), Instant::now());
    locks.fail("job", StoreErrorKind::Unreachable);
    let call = locks.manager().lock("job").wait(Duration::from_secs(10)).acquire().await;
    assert_eq!(kind_of(call.err()), StoreErrorKind::Unreachable);
    assert_eq!(started.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_outage_under_a_body_loses_its_lock_when_its_ttl_is_over() {
    let (locks, started) = (TestLocks::new(), Instant::now());
    let body = locks.manager().lock("job").ttl(Duration::from_secs(9)).run(sleep(Duration::from_secs(60)));
    let body = tokio::spawn(body);
    // Before the first renewal, which is sent between a twelfth and a third of the ttl.
    sleep(Duration::from_millis(500)).await;
    locks.fail("job", StoreErrorKind::TimedOut);
    let lost = body.await.unwrap();
    assert!(matches!(lost, Err(LockError::Lost { reason: LostReason::Expired, .. })), "{lost:?}");
    assert_eq!(started.elapsed().as_secs(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_fault_replaces_the_one_before() {
    let locks = TestLocks::new();
    locks.busy("job");
    locks.fail("job", StoreErrorKind::Refused);
    locks.free("job");
    assert!(matches!(with_manager(locks.manager(), job()).await, Err(LockError::Store { .. })));
    locks.busy("job");
    locks.recover("job");
    assert!(matches!(with_manager(locks.manager(), job()).await, Err(LockError::Busy { .. })));
}

#[test]
#[should_panic(expected = "invalid lock key ``: it is empty")]
fn an_empty_key_is_refused() {
    TestLocks::new().busy("");
}
