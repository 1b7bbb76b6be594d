//! A store that fails for a while is asked again, and given up in the end.

use distlock::{LockError, LostReason};
use tokio::time::{Instant, sleep};

use crate::{
    faulty_store::Fault,
    panics::{SECOND, is_free, manager},
};

#[tokio::test(start_paused = true)]
async fn at_least_is_counted_from_the_grant_even_if_the_release_is_tried_again() {
    let (store, locks) = manager();
    let start = Instant::now();
    let guard = locks.lock("k").ttl(SECOND * 60).at_least(SECOND * 10).acquire().await.unwrap();
    store.set_fault(Some(Fault::Unavailable));
    drop(guard);
    sleep(SECOND * 8).await;
    store.set_fault(None);
    is_free(&locks, SECOND * 60).await;
    let free_after = start.elapsed();
    assert!((SECOND * 10..SECOND * 11).contains(&free_after), "{free_after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_unavailable_for_a_whole_lease_ends_it_as_expired() {
    let (store, locks) = manager();
    let guard = locks.lock("k").acquire().await.unwrap();
    store.set_fault(Some(Fault::Unavailable));
    assert_eq!(guard.lost().await, LostReason::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gave_up_in_an_outage_is_not_counted_as_a_lease_that_was_not_released() {
    let (store, locks) = manager();
    store.set_fault(Some(Fault::Silent));
    let error = locks.lock("k").wait(SECOND / 2).acquire().await.unwrap_err();
    assert!(matches!(error, LockError::Store { .. }), "{error}");
    sleep(SECOND * 20).await;
    assert_eq!(locks.failed_releases(), 0, "no lease was granted");
    store.set_fault(None);
    let guard = locks.lock("k").acquire().await.unwrap();
    store.set_fault(Some(Fault::Silent));
    drop(guard);
    sleep(SECOND * 20).await;
    assert_eq!(locks.failed_releases(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_failed_hands_its_lease_to_no_task_of_the_process() {
    let (store, locks) = manager();
    let ttl = SECOND * 30;
    let guard = locks.lock("k").ttl(ttl).acquire().await.unwrap();
    store.set_fault(Some(Fault::Late(SECOND)));
    let waiter = tokio::spawn({
        let locks = locks.clone();
        async move {
            sleep(SECOND / 2).await;
            locks.lock("k").ttl(ttl).fair(false).wait(SECOND * 20).acquire().await
        }
    });
    guard.release().await.unwrap_err();
    store.set_fault(None);
    let second = waiter.await.unwrap().unwrap();
    // By now the late release has reached the store.
    sleep(SECOND * 2).await;
    second.renew().await.expect("the waiter has a lease of its own");
    second.release().await.unwrap();
}
