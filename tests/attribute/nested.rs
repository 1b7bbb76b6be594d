//! Two attributes on one function: the first written is the outer lock.

use std::{future::Future, pin::Pin, time::Duration};

use distlock::{LockManager, distributed_lock, distributed_lock as locked};
use tokio::time::{Instant, sleep};

use crate::{AppError, AppResult, with_fresh_manager};

/// Checks that a call holds nothing while it waits for `first`, and `first` while it waits for `second`.
async fn nests<T, F: Future<Output = AppResult<T>>>(call: impl Fn() -> F) {
    with_fresh_manager(|locks| async move {
        for (busy, other, is_held) in [("first", "second", false), ("second", "first", true)] {
            let holder = locks.lock(busy).acquire().await.unwrap();
            let check = async {
                sleep(Duration::from_secs(1)).await;
                let taken = locks.lock(other).try_acquire().await.unwrap().is_none();
                assert_eq!(taken, is_held, "whether `{other}` is held while `{busy}` is waited for");
                holder.release().await.unwrap();
            };
            let (called, ()) = tokio::join!(call(), check);
            assert!(called.is_ok());
        }
    })
    .await;
}

#[distributed_lock(key = "first", wait = "5s", guard = outer)]
#[distributed_lock(key = "second", wait = "5s", guard = inner)]
async fn two() -> AppResult<(String, String)> {
    Ok((outer.key().to_owned(), inner.key().to_owned()))
}

#[distributed_lock(key = "first", wait = "5s")]
#[locked(key = "second", wait = "5s")]
async fn renamed() -> AppResult<()> {
    Ok(())
}

#[locked(key = "first", wait = "5s")]
#[must_use]
#[cfg_attr(all(), distributed_lock(key = "second", wait = "5s"))]
async fn conditional() -> AppResult<()> {
    Ok(())
}

#[distributed_lock(key = "first", wait = "5s")]
#[distributed_lock(key = "second", wait = "5s")]
fn boxed() -> Pin<Box<dyn Future<Output = AppResult<()>> + Send>> {
    Box::pin(async move { Ok(()) })
}

trait Jobs {
    #[distributed_lock(key = "first", wait = "5s")]
    #[distributed_lock(key = "{self.key()}", wait = "5s")]
    async fn in_a_trait(&self) -> AppResult<()> {
        Ok(())
    }

    fn key(&self) -> &str;
}

impl Jobs for str {
    fn key(&self) -> &str {
        self
    }
}

#[distributed_lock(key = "{outer}", wait = "5s")]
#[distributed_lock(key = "{inner}", wait = "5s")]
async fn generic<'a, T: AsRef<str>>(
    outer: &'a str,
    inner: &str,
    item: &'a T,
) -> AppResult<impl Iterator<Item = &'a str>> {
    Ok([outer, item.as_ref()].into_iter())
}

macro_rules! with_a_body {
    ($name:ident, $outer:literal, $body:block) => {
        #[distributed_lock(key = $outer, wait = "5s")]
        #[distributed_lock(key = "second", wait = "5s")]
        async fn $name() -> AppResult<()> $body
    };
}

with_a_body!(from_a_macro, "first", { Ok(()) });

#[distributed_lock(key = "zeroth")]
#[distributed_lock(key = "first", wait = "5s")]
#[distributed_lock(key = "second", wait = "5s")]
async fn three() -> AppResult<()> {
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_first_written_of_two_attributes_is_the_outer_lock() {
    nests(two).await;
    nests(boxed).await;
    nests(three).await;
    nests(|| "second".in_a_trait()).await;
    nests(|| generic("first", "second", &"item")).await;
    nests(from_a_macro).await;
}

#[tokio::test(start_paused = true)]
async fn the_outer_lock_is_the_first_written_by_any_name_and_with_attributes_between() {
    nests(renamed).await;
    nests(conditional).await;
}

#[tokio::test]
async fn the_body_sees_the_guards_of_both_attributes() {
    with_fresh_manager(|_| async {
        assert_eq!(two().await.unwrap(), ("first".to_owned(), "second".to_owned()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_locks_of_all_attributes_are_held_and_released() {
    with_fresh_manager(|locks| async move {
        for key in ["zeroth", "first", "second"] {
            three().await.unwrap();
            let holder = locks.lock(key).acquire().await.unwrap();
            let call = tokio::time::timeout(Duration::from_secs(1), three()).await;
            assert!(!matches!(call, Ok(Ok(()))), "{key} is busy");
            holder.release().await.unwrap();
            // The locks of the call that was dropped are released in the background.
            sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
}

/// Takes both locks in the order of its attributes.
#[distributed_lock(key = "first", wait = "1m")]
#[distributed_lock(key = "second", wait = "1m")]
async fn by_attributes() -> AppResult<()> {
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// Takes both locks in the same order, the second by a call.
#[distributed_lock(key = "first", wait = "1m")]
async fn by_a_call() -> AppResult<()> {
    sleep(Duration::from_secs(1)).await;
    second().await
}

#[distributed_lock(key = "second", wait = "1m")]
async fn second() -> AppResult<()> {
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn functions_that_take_two_locks_in_one_order_do_not_deadlock() {
    with_fresh_manager(|_| async {
        let start = Instant::now();
        let (one, other) = tokio::join!(by_a_call(), by_attributes());
        assert_eq!((one, other), (Ok(()), Ok(())));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    })
    .await;
}

#[distributed_lock(key = "words:{words.len()}", locks = locks)]
#[distributed_lock(key = "{prefix}:{words[0]}", locks = locks, on_busy = |_| Ok(words))]
async fn arguments(mut words: Vec<String>, prefix: &str, locks: &LockManager) -> AppResult<Vec<String>> {
    if words.len() > 2 {
        return Err(AppError::App("too many"));
    }
    let last: u8 = words[1].parse().map_err(|_| AppError::App("no number"))?;
    words.push((last + 1).to_string());
    Ok(words)
}

#[tokio::test]
async fn the_keys_handlers_and_body_of_two_attributes_share_the_arguments() {
    let locks = LockManager::in_memory();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let call = |given: &[&str]| arguments(words(given), "p", &locks);
    assert_eq!(call(&["a", "1"]).await, Ok(words(&["a", "1", "2"])));
    assert_eq!(call(&["a", "x"]).await, Err(AppError::App("no number")));
    assert_eq!(call(&["a", "1", "1"]).await, Err(AppError::App("too many")));
    let _holder = locks.lock("p:a").acquire().await.unwrap();
    assert_eq!(call(&["a", "1"]).await, Ok(words(&["a", "1"])));
}
