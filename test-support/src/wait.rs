//! Bounded waiting.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Waits until a condition holds. The condition is checked every two milliseconds.
///
/// # Panics
///
/// If the condition does not hold after `within`, measured from the call.
pub async fn eventually<F: Future<Output = bool>>(within: Duration, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + within;
    while !condition().await {
        assert!(Instant::now() < end, "the condition did not hold within {within:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits for a future, so that a test fails where it would hang.
///
/// # Panics
///
/// If the future does not end within `within`, measured from the call.
pub async fn in_time<F: Future>(within: Duration, future: F) -> F::Output {
    tokio::time::timeout(within, future)
        .await
        .unwrap_or_else(|_| panic!("the future did not end within {within:?}"))
}
