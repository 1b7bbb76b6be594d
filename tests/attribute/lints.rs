//! What the attribute generates causes no warning, even under strict lints.
#![deny(
    warnings,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    rust_2018_idioms,
    unused_qualifications,
    unreachable_pub,
    single_use_lifetimes,
    missing_copy_implementations,
    let_underscore_drop
)]
#![forbid(unsafe_code)]

use std::{fmt::Display, future::Future, time::Duration};

use distlock::{LockError, LockManager, distributed_lock};

/// With a result.
///
/// # Errors
///
/// If the lock fails.
#[distributed_lock(key = "order:{id}", ttl = 30, wait = "2s", guard = lock)]
pub async fn plain(id: u64) -> Result<u64, LockError> {
    tokio::task::yield_now().await;
    Ok(id + u64::from(lock.is_held()))
}

#[distributed_lock(key = "unit", on_busy = skip, on_error = log)]
async fn unit() {
    tokio::task::yield_now().await;
}

#[distributed_lock(key = "handlers", on_busy = |_| 0, on_error = |error| u8::try_from(error.key().len()).unwrap_or(1))]
async fn handlers(mut n: u8, text: String, _unused: String) -> u8 {
    n += u8::try_from(text.len()).unwrap_or_default();
    tokio::task::yield_now().await;
    n
}

#[distributed_lock(key = "key-only:{only}")]
async fn key_only(only: &str) -> Result<(), LockError> {
    tokio::task::yield_now().await;
    Ok(())
}

#[distributed_lock(key = "generic:{item}", max_hold = Duration::from_secs(seconds))]
async fn generic<T: Display + Sync>(item: &T, seconds: u64) -> Result<impl Display + use<T>, LockError> {
    tokio::task::yield_now().await;
    Ok(item.to_string())
}

#[distributed_lock(key = "future")]
fn future(n: u8) -> impl Future<Output = Result<u8, LockError>> + Send {
    async move {
        tokio::task::yield_now().await;
        Ok(n)
    }
}

macro_rules! with_the_body_of_a_macro {
    ($name:ident, $other:ident, $body:block) => {
        #[distributed_lock(key = "block")]
        async fn $name() -> Result<u8, LockError> $body

        #[distributed_lock(key = "async-block")]
        fn $other() -> impl Future<Output = Result<u8, LockError>> + Send {
            async move $body
        }
    };
}

with_the_body_of_a_macro!(block, async_block, {
    tokio::task::yield_now().await;
    Ok(4)
});

#[distributed_lock(key = "two:{n}", guard = outer)]
#[distributed_lock(key = "locks:{n}", guard = inner)]
async fn two(mut n: u64, _unused: String) -> Result<u64, LockError> {
    tokio::task::yield_now().await;
    n += u64::from(outer.is_held()) + u64::from(inner.is_held());
    Ok(n)
}

#[distributed_lock(key = "finish", on_lost = finish, on_error = |error| u64::from(text.contains(error.key())))]
async fn finishes(text: String) -> u64 {
    tokio::task::yield_now().await;
    text.len() as u64
}

#[distributed_lock(key = "copies", on_error = |error| u8::from(text.contains(error.key())) + n)]
async fn copies(text: &str, n: u8) -> u8 {
    tokio::task::yield_now().await;
    n + u8::from(text.is_empty())
}

/// Has methods.
#[derive(Debug)]
pub struct Repo {
    locks: LockManager,
}

impl Repo {
    /// By reference.
    ///
    /// # Errors
    ///
    /// If the lock fails.
    #[distributed_lock(key = "repo:{id}", locks = self.locks)]
    pub async fn by_ref(&self, id: u64) -> Result<u64, LockError> {
        tokio::task::yield_now().await;
        Ok(id)
    }

    /// By value.
    ///
    /// # Errors
    ///
    /// If the lock fails.
    #[distributed_lock(key = "repo", locks = self.locks)]
    pub async fn by_value(self) -> Result<LockManager, LockError> {
        tokio::task::yield_now().await;
        Ok(self.locks)
    }
}

#[tokio::test]
async fn functions_under_strict_lints_run() {
    distlock::with_manager(LockManager::in_memory(), async {
        assert_eq!(plain(1).await.unwrap(), 2);
        unit().await;
        assert_eq!(handlers(1, "ab".to_owned(), String::new()).await, 3);
        key_only("x").await.unwrap();
        assert_eq!(format!("{}", generic(&1, 1).await.unwrap()), "1");
        assert_eq!(future(1).await.unwrap(), 1);
        assert_eq!(block().await.unwrap() + async_block().await.unwrap(), 8);
        assert_eq!(two(1, String::new()).await.unwrap(), 3);
        assert_eq!(finishes("ab".to_owned()).await, 2);
        assert_eq!(copies("", 1).await, 2);
        let repo = Repo { locks: LockManager::in_memory() };
        assert_eq!(repo.by_ref(3).await.unwrap(), 3);
        repo.by_value().await.unwrap();
    })
    .await;
}
