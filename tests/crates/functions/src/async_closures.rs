//! Locked functions of edition 2024: async closures as arguments and in the body, `use<..>`, and borrowed,
//! boxed and opaque values that outlive the lock.

use std::{borrow::Cow, future::Future, pin::Pin, slice};

use distlock::{LockError, distributed_lock};
use futures_util::future::{BoxFuture, FutureExt, LocalBoxFuture};
use tokio::sync::{Mutex, MutexGuard};

type Answer<T = ()> = Result<T, LockError>;

/// Calls an `AsyncFn` until it returns a value.
///
/// # Errors
/// The last attempt fails, or the lock is not acquired or is lost.
#[allow(clippy::future_not_send, reason = "the bounds do not say whether the closure's future is `Send`")]
#[distributed_lock(key = "retry:{name}")]
pub async fn retry<T, E: From<LockError>>(
    name: &str,
    mut attempts: u32,
    attempt: impl AsyncFn(u32) -> Result<T, E>,
) -> Result<T, E> {
    loop {
        match attempt(attempts).await {
            Ok(value) => break Ok(value),
            Err(error) if attempts == 0 => return Err(error),
            Err(_) => attempts -= 1,
        }
    }
}

/// Calls an `AsyncFnMut` for each item.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[allow(clippy::future_not_send, reason = "the bounds do not say whether the closure's future is `Send`")]
#[distributed_lock(key = format!("each:{}", name.as_ref()))]
pub async fn for_each<F>(name: impl AsRef<str>, items: Vec<u32>, mut call: F) -> Answer<usize>
where
    F: AsyncFnMut(u32),
{
    let count = items.len();
    for item in items {
        call(item).await;
    }
    Ok(count)
}

/// Lends the locked value to an `AsyncFnOnce`.
///
/// # Errors
/// The closure fails, or the lock is not acquired or is lost.
#[allow(clippy::future_not_send, reason = "the bounds do not say whether the closure's future is `Send`")]
#[distributed_lock(key = "transaction:{id}")]
pub async fn transaction<T>(
    id: u64,
    writes: &mut Vec<u64>,
    change: impl AsyncFnOnce(&mut Vec<u64>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let before = writes.len();
    let changed = change(writes).await;
    if changed.is_err() {
        writes.truncate(before);
    }
    changed
}

/// Calls a closure whose future borrows its argument.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "higher-ranked:{text}")]
pub async fn higher_ranked<F>(text: &str, call: F) -> Answer<usize>
where
    F: for<'a> Fn(&'a str) -> BoxFuture<'a, usize> + Send + Sync,
{
    Ok(call(text).await)
}

/// Awaits a future from the caller.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "given")]
pub async fn given<F>(future: F) -> Answer<F::Output>
where
    F: Future<Output: Send> + Send,
{
    Ok(future.await)
}

/// Calls a boxed closure.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "boxed-once:{n}")]
pub async fn boxed_once(n: u8, call: Box<dyn FnOnce(u8) -> u8 + Send>) -> Answer<u8> {
    tokio::task::yield_now().await;
    Ok(call(n))
}

/// Has async closures in its body, which borrow and return early.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "inside:{by}")]
pub async fn inside(by: u32) -> Answer<u32> {
    let mut sum = 0;
    let mut add = async |n: u32| {
        tokio::task::yield_now().await;
        sum += n * by;
    };
    add(1).await;
    add(2).await;
    let checked = async || -> Answer<u32> {
        if by == 0 {
            return Ok(0);
        }
        Ok(by)
    };
    Ok(checked().await? + sum)
}

/// Returns a future that borrows nothing.
#[distributed_lock(key = "owned:{id}")]
pub fn borrows_nothing(id: u64) -> impl Future<Output = Answer<u64>> + Send + use<> {
    async move {
        tokio::task::yield_now().await;
        Ok(id)
    }
}

/// Returns a future that borrows its argument.
#[distributed_lock(key = "lent:{text}")]
pub fn borrows_its_argument<'a>(text: &'a str) -> impl Future<Output = Answer<&'a str>> + Send + use<'a> {
    async move {
        tokio::task::yield_now().await;
        Ok(text)
    }
}

/// Returns an iterator that names what it captures.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "page:{page}")]
pub async fn page<'a, T: Clone + Sync>(
    items: &'a [T],
    page: usize,
) -> Answer<impl Iterator<Item = T> + use<'a, T>> {
    tokio::task::yield_now().await;
    Ok(items.iter().skip(page * 2).take(2).cloned())
}

/// Returns a closure, which has no name.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "adder:{n}")]
pub async fn adder(n: u64) -> Answer<impl Fn(u64) -> u64 + Send + 'static> {
    tokio::task::yield_now().await;
    Ok(move |m| m + n)
}

/// Returns a future that runs after the lock.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "later:{n}")]
pub async fn later(n: u64) -> Answer<impl Future<Output = u64> + Send> {
    tokio::task::yield_now().await;
    Ok(async move { n + 1 })
}

/// Returns an opaque value beside a trait object, which the body's value is coerced to.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "coerced:{n}")]
pub async fn coerced(n: u8) -> Answer<(impl Iterator<Item = u8>, Vec<Box<dyn Fn(u8) -> u8 + Send>>)> {
    tokio::task::yield_now().await;
    Ok((0..n, vec![Box::new(move |m| m + n), Box::new(|m| m)]))
}

/// Returns a borrow or a value.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "trimmed:".to_owned() + text)]
pub async fn trimmed(text: &str) -> Answer<Cow<'_, str>> {
    tokio::task::yield_now().await;
    Ok(if text.is_empty() { "none".to_owned().into() } else { text.trim().into() })
}

/// Returns an iterator that borrows.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "slice")]
pub async fn items<T: Sync>(items: &[T]) -> Answer<slice::Iter<'_, T>> {
    tokio::task::yield_now().await;
    Ok(items.iter())
}

/// Returns the guard of a local mutex, which outlives the lock.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "local-mutex")]
pub async fn local_mutex(mutex: &Mutex<u8>) -> Answer<MutexGuard<'_, u8>> {
    Ok(mutex.lock().await)
}

/// Has a temporary in its last expression that borrows an argument.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "tail")]
pub async fn tail(values: std::sync::Mutex<Vec<u8>>) -> Answer<usize> {
    tokio::task::yield_now().await;
    Ok(values.lock().map_or(0, |values| values.len()))
}

/// A connection whose methods return futures.
#[derive(Debug)]
pub struct Connection {
    /// The connection's name.
    pub name: String,
}

impl Connection {
    /// Returns a future that borrows the connection.
    #[distributed_lock(key = "connection:{self.name}")]
    pub fn ping(&self, n: u8) -> impl Future<Output = Answer<String>> + Send {
        async move {
            tokio::task::yield_now().await;
            Ok(format!("{}{n}", self.name))
        }
    }

    /// Returns a boxed future, by `boxed`.
    #[distributed_lock(key = "connection:{self.name}")]
    pub fn name<'a>(&'a self, suffix: &'a str) -> BoxFuture<'a, Answer<(&'a str, &'a str)>> {
        async move {
            tokio::task::yield_now().await;
            Ok((self.name.as_str(), suffix))
        }
        .boxed()
    }

    /// Returns a boxed future that is not `Send`.
    #[distributed_lock(key = "connection:{self.name}")]
    pub fn local(&self) -> LocalBoxFuture<'_, Answer<usize>> {
        async {
            let name: std::rc::Rc<str> = self.name.as_str().into();
            tokio::task::yield_now().await;
            Ok(name.len())
        }
        .boxed_local()
    }

    /// Returns a boxed future that changes the connection.
    #[distributed_lock(key = "connection:{self.name}")]
    pub fn rename(&mut self, suffix: char) -> Pin<Box<dyn Future<Output = Answer<&str>> + Send + '_>> {
        Box::pin(async move {
            self.name.push(suffix);
            tokio::task::yield_now().await;
            Ok(&*self.name)
        })
    }
}
