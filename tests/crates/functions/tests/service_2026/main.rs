//! Functions in the manner of 2026: each holds the key that its attribute names while its body runs, hands
//! its value back, and leaves the key free.

use std::{fmt::Display, future::Future};

use distlock::{LockManager, with_manager};

mod async_closures;
mod control_flow;
mod handlers;
mod methods;
mod settings;

/// Makes the call while `key` is held, and checks that it fails with an error that names the key. Then makes
/// it while the key is free, returns its value, and checks that the key is free again.
async fn locked<T, E: Display, F: Future<Output = Result<T, E>>>(
    locks: &LockManager,
    key: &str,
    mut call: impl FnMut() -> F,
) -> T {
    let holder = locks.lock(key).acquire().await.unwrap();
    let Err(busy) = with_manager(locks.clone(), call()).await else { panic!("`{key}` is not locked") };
    assert!(busy.to_string().contains(&format!("lock on `{key}` is busy")), "{busy}");
    holder.release().await.unwrap();
    let value = match with_manager(locks.clone(), call()).await {
        Ok(value) => value,
        Err(error) => panic!("`{key}`: {error}"),
    };
    assert!(is_free(locks, key).await, "`{key}` is still held");
    value
}

async fn is_free(locks: &LockManager, key: &str) -> bool {
    let Some(guard) = locks.lock(key).try_acquire().await.unwrap() else { return false };
    guard.release().await.unwrap();
    true
}
