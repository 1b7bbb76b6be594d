//! Under and over other attributes.

use distlock::{LockError, distributed_lock};
use tracing::instrument;

/// Ours is inside the span.
///
/// # Errors
/// The lock's.
#[instrument(skip(secret), fields(kind = "over"))]
#[distributed_lock(key = "span-over:{id}")]
pub async fn instrument_over(id: u64, secret: &str) -> Result<usize, LockError> {
    tokio::task::yield_now().await;
    Ok(secret.len())
}

/// The span is inside the lock.
///
/// # Errors
/// The lock's.
#[distributed_lock(key = "span-under:{id}")]
#[instrument(err)]
pub async fn instrument_under(id: u64) -> Result<u64, LockError> {
    tokio::task::yield_now().await;
    Ok(id)
}

/// Both locks, the first written outside.
///
/// # Errors
/// The locks'.
#[distributed_lock(key = "outer:{id}", guard = outer)]
#[distributed_lock(key = "inner:{id}", guard = inner)]
pub async fn two_locks(id: u64) -> Result<(String, String), LockError> {
    tokio::task::yield_now().await;
    Ok((outer.key().to_owned(), inner.key().to_owned()))
}

/// Its caller has something to promise.
///
/// # Safety
/// `text` is UTF-8.
///
/// # Errors
/// The lock's.
#[distributed_lock(key = "unsafe:{name}")]
pub async unsafe fn trusting<'a>(name: &str, text: &'a [u8]) -> Result<&'a str, LockError> {
    tokio::task::yield_now().await;
    // SAFETY: the caller's promise.
    Ok(unsafe { std::str::from_utf8_unchecked(text) })
}

/// Where a condition says so.
///
/// # Errors
/// The lock's.
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

/// The runtime's attribute stands below ours.
///
/// # Errors
/// The lock's.
#[distributed_lock(key = "main")]
#[tokio::main(flavor = "current_thread")]
pub async fn main_below() -> Result<u8, LockError> {
    tokio::task::yield_now().await;
    Ok(1)
}
