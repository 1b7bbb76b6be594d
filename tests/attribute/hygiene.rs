//! The attribute beside other attributes, other macros, and names that its expansion uses too.
#![allow(clippy::too_many_arguments, reason = "one for each name that the expansion uses")]

use distlock::{LockManager, distributed_lock};

use crate::{AppError, AppResult, with_fresh_manager};

#[distributed_lock(key = "names:{key}:{guard}:{e}", ttl = 30)]
async fn names_of_the_expansion(
    key: u8,
    guard: u8,
    e: u8,
    result: u8,
    ttl: u8,
    manager: u8,
    acquired: u8,
    outcome: u8,
) -> AppResult<u8> {
    Ok(key + guard + e + result + ttl + manager + acquired + outcome)
}

#[tokio::test]
async fn arguments_may_have_the_names_that_the_expansion_uses() {
    with_fresh_manager(|_| async {
        assert_eq!(names_of_the_expansion(1, 2, 3, 4, 5, 6, 7, 8).await.unwrap(), 36);
    })
    .await;
}

#[distributed_lock(key = "outer", guard = outer)]
#[distributed_lock(key = "inner", guard = inner)]
async fn two(locks: LockManager) -> AppResult<(String, String)> {
    for key in ["outer", "inner"] {
        assert!(locks.lock(key).try_acquire().await.is_err(), "{key} is held by this call chain");
    }
    Ok((outer.key().to_owned(), inner.key().to_owned()))
}

#[tokio::test]
async fn two_attributes_take_two_locks() {
    with_fresh_manager(|locks| async move {
        let keys = two(locks).await.unwrap();
        assert_eq!(keys, ("outer".to_owned(), "inner".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn the_upper_of_two_attributes_takes_its_lock_first() {
    with_fresh_manager(|locks| async move {
        let _other = locks.lock("outer").acquire().await.unwrap();
        let error = two(locks.clone()).await.unwrap_err();
        assert!(matches!(error, AppError::Lock(error) if error.contains("`outer`")));
    })
    .await;
}

macro_rules! locked {
    ($name:ident, $argument:ident, $key:literal) => {
        #[distributed_lock(key = $key, guard = lock)]
        async fn $name($argument: u8, own: u8) -> AppResult<String> {
            Ok(format!("{} {own}", lock.key()))
        }
    };
}

locked!(from_a_macro, id, "m:{id}");

#[tokio::test]
async fn a_macro_may_write_a_locked_function() {
    with_fresh_manager(|_| async {
        assert_eq!(from_a_macro(1, 2).await.unwrap(), "m:1 2");
    })
    .await;
}
