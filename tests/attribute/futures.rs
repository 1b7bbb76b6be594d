//! Functions that return a future, and methods of traits.

use std::{collections::HashMap, future::Future, pin::Pin};

use distlock::{LockGuard, LockManager, distributed_lock};

use crate::{AppError, AppResult, with_fresh_manager};

#[distributed_lock(key = "f:{id}", guard = lock)]
fn returns_future(id: u64) -> impl Future<Output = AppResult<String>> + Send {
    async move { Ok(format!("{} {id}", lock.key())) }
}

#[distributed_lock(key = "b:{id}", guard = lock)]
fn returns_box(id: u64) -> Pin<Box<dyn Future<Output = AppResult<String>> + Send>> {
    Box::pin(async move {
        let n: u64 = "1".parse().map_err(|_| AppError::App("no number"))?;
        Ok(format!("{} {}", lock.key(), id + n))
    })
}

#[distributed_lock(key = "r:{id}", guard = lock)]
fn returns_by_the_word(id: u64) -> Pin<Box<dyn Future<Output = AppResult<String>> + Send>> {
    return Box::pin(async move { Ok(format!("{} {id}", lock.key())) });
}

trait Service {
    async fn native(&self, id: u8) -> AppResult<u8>;

    #[distributed_lock(key = "default:{id}")]
    async fn with_body(&self, id: u8) -> AppResult<u8> {
        Ok(id)
    }
}

struct Impl;

impl Service for Impl {
    #[distributed_lock(key = "native:{id}")]
    async fn native(&self, id: u8) -> AppResult<u8> {
        Ok(id + 1)
    }
}

#[tokio::test]
async fn a_function_may_return_a_future() {
    with_fresh_manager(|_| async {
        assert_eq!(returns_future(1).await.unwrap(), "f:1 1");
        assert_eq!(returns_box(1).await.unwrap(), "b:1 2");
        assert_eq!(returns_by_the_word(1).await.unwrap(), "r:1 1");
    })
    .await;
}

#[tokio::test]
async fn methods_of_traits_are_locked_in_the_impl_and_in_the_trait() {
    with_fresh_manager(|_| async {
        assert_eq!(Impl.native(1).await.unwrap(), 2);
        assert_eq!(Impl.with_body(1).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_locked_future_is_send_if_its_body_is() {
    fn assert_send<T: Send>(_: &T) {}
    let held: HashMap<&str, LockGuard> = HashMap::new();
    assert_send(&held);
    assert_send(&plain(1));
    assert_send(&returns_future(1));
}

#[distributed_lock(key = "plain:{id}")]
async fn plain(id: u64) -> AppResult<u64> {
    Ok(id)
}

struct Desk {
    locks: LockManager,
}

/// The futures own what they need, as those of tower's `Service` do.
impl Desk {
    #[distributed_lock(key = "call:{id}", guard = lock)]
    fn call(&mut self, id: u64, _trace: &str) -> Pin<Box<dyn Future<Output = AppResult<String>> + Send>> {
        Box::pin(async move { Ok(format!("{} {id}", lock.key())) })
    }

    #[distributed_lock(key = "own:{id}", locks = self.locks, guard = lock)]
    fn with_its_own_locks(&mut self, id: u64) -> Pin<Box<dyn Future<Output = AppResult<String>> + Send>> {
        Box::pin(async move { Ok(format!("{} {id}", lock.key())) })
    }

    #[distributed_lock(key = "borrows", locks = self.locks)]
    fn borrows(&self) -> impl Future<Output = AppResult<&LockManager>> {
        async move { Ok(&self.locks) }
    }
}

#[tokio::test]
async fn a_returned_future_borrows_only_what_its_body_or_its_key_names() {
    with_fresh_manager(|locks| async move {
        let mut desk = Desk { locks: locks.clone() };
        let (one, two) = (desk.call(1, "trace"), desk.with_its_own_locks(2));
        desk.borrows().await.unwrap();
        drop(desk);
        assert_eq!(tokio::spawn(distlock::with_manager(locks, one)).await.unwrap().unwrap(), "call:1 1");
        assert_eq!(tokio::spawn(two).await.unwrap().unwrap(), "own:2 2");
    })
    .await;
}
