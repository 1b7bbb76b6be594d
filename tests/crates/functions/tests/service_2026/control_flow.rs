//! Control flow, and functions that macros write.

use std::time::Duration;

use distlock::{LockManager, with_manager};
use functions::control_flow::{self, Number};

use crate::{is_free, locked};

#[tokio::test(start_paused = true)]
async fn every_way_out_of_a_body_hands_back_its_value_and_releases() {
    let locks = LockManager::in_memory();
    for (n, expected) in [(0, "zero"), (1, "one"), (2, "many"), (3, "three"), (9, "last"), (10, "large")] {
        assert_eq!(locked(&locks, &format!("flow:{n}"), || control_flow::flow(n)).await, expected);
    }
    let question = |bytes| with_manager(locks.clone(), control_flow::question(bytes));
    assert_eq!(question(Some(&[4, 3])).await, Some(10));
    assert_eq!((question(Some(&[])).await, question(None).await), (None, None));
    let limit = Duration::from_millis(5);
    let error = with_manager(locks.clone(), control_flow::only_errors(limit)).await.unwrap_err();
    assert_eq!(error.to_string(), "deadline has elapsed");
    with_manager(locks.clone(), control_flow::empty()).await;
    with_manager(locks.clone(), control_flow::statement("text".into())).await;
    assert!(tokio::spawn(with_manager(locks.clone(), control_flow::panics(1))).await.unwrap_err().is_panic());
    let never = tokio::time::timeout(limit, with_manager(locks.clone(), control_flow::never()));
    assert!(never.await.is_err());
    // The releases after the panic and after the drop run in the background.
    tokio::time::sleep(limit).await;
    for key in ["question", "only-errors:5", "empty", "statement", "panics:1", "never"] {
        assert!(is_free(&locks, key).await, "{key}");
    }
    assert_eq!(locked(&locks, "side-by-side:1", || control_flow::side_by_side(1)).await, 9);
    let shadows = locked(&locks, "shadows:1", || control_flow::shadows(1, "x")).await;
    assert_eq!(shadows, ("shadows:1".to_owned(), "1x1x".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn functions_that_macros_write_are_locked() {
    let locks = LockManager::in_memory();
    assert_eq!(locked(&locks, "made:acme:1", || control_flow::made_by_macro(1, "acme")).await, 5);
    assert_eq!(locked(&locks, "outside:1", || control_flow::template_outside_macro(1)).await, 1);
    assert_eq!(locked(&locks, "getter:5", || async { Number(5).value().await }).await, 5);
    let template = || with_manager(locks.clone(), control_flow::template_in_macro(1, (2, 3)));
    assert_eq!(template().await.unwrap(), "inside:1:3 1 2");
    let holder = locks.lock("inside:1:3").acquire().await.unwrap();
    assert_eq!(template().await.unwrap(), "");
    drop(holder);
    let holder = locks.lock("passed-on:1").acquire().await.unwrap();
    let (passed_on, ()) = tokio::join!(with_manager(locks, control_flow::passed_on(1)), async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        holder.release().await.unwrap();
    });
    assert_eq!(passed_on.unwrap(), 1);
}
