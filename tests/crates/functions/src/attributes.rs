//! Functions that have other attributes above or below ours.

use distlock::{LockError, distributed_lock};
use tracing::instrument;

/// The lock is inside the span.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[instrument(skip(secret), fields(kind = "over"))]
#[distributed_lock(key = "span-over:{id}")]
pub async fn instrument_over(id: u64, secret: &str) -> Result<usize, LockError> {
    tokio::task::yield_now().await;
    Ok(secret.len())
}

/// The span is inside the lock.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "span-under:{id}")]
#[instrument(err)]
pub async fn instrument_under(id: u64) -> Result<u64, LockError> {
    tokio::task::yield_now().await;
    Ok(id)
}

/// Takes two locks. The attribute that is written first is the outer lock.
///
/// # Errors
/// A lock is not acquired, or it is lost.
#[distributed_lock(key = "outer:{id}", guard = outer)]
#[distributed_lock(key = "inner:{id}", guard = inner)]
pub async fn two_locks(id: u64) -> Result<(String, String), LockError> {
    tokio::task::yield_now().await;
    Ok((outer.key().to_owned(), inner.key().to_owned()))
}

/// Takes two locks, with the attribute of another crate between them.
///
/// # Errors
/// A lock is not acquired, or it is lost.
#[distributed_lock(key = "first", wait = "5s")]
#[instrument(skip(text), err)]
#[distributed_lock(key = "second", wait = "5s")]
pub async fn instrument_between(text: &str) -> Result<usize, LockError> {
    tokio::task::yield_now().await;
    Ok(text.len())
}

/// Takes two locks below an attribute that removes `async`.
///
/// # Errors
/// A lock is not acquired, or it is lost.
#[distributed_lock(key = "outer-main")]
#[tokio::main(flavor = "current_thread")]
#[distributed_lock(key = "inner-main")]
pub async fn main_between() -> Result<u8, LockError> {
    tokio::task::yield_now().await;
    Ok(1)
}

/// An unsafe function.
///
/// # Safety
/// `text` must be UTF-8.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "unsafe:{name}")]
pub async unsafe fn trusting<'a>(name: &str, text: &'a [u8]) -> Result<&'a str, LockError> {
    tokio::task::yield_now().await;
    // SAFETY: the caller promises that `text` is UTF-8.
    Ok(unsafe { std::str::from_utf8_unchecked(text) })
}

/// The attribute and an argument depend on conditions.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[cfg_attr(all(), distributed_lock(key = "cfg:{id}"))]
#[cfg_attr(any(), deprecated)]
#[must_use = "it says whether it was done"]
#[inline]
pub async fn conditional(
    #[cfg(not(target_os = "none"))] id: u64,
    #[cfg(target_os = "none")] absent: u64,
) -> Result<bool, LockError> {
    tokio::task::yield_now().await;
    Ok(id > 0)
}

/// The runtime's attribute is below ours.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "main")]
#[tokio::main(flavor = "current_thread")]
pub async fn main_below() -> Result<u8, LockError> {
    tokio::task::yield_now().await;
    Ok(1)
}
