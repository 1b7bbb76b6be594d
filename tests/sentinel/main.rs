//! Locks on a server that sentinels fail over, and on one with replicas.

use std::time::Duration;

use distlock::{LockError, LockManager, StoreErrorKind};

mod asking;
mod failover;
mod failover_delay;
mod replicas;

/// Longer than a failover takes, which is three seconds. Sentinels whose votes are split try again after six
/// seconds.
const SOON: Duration = Duration::from_secs(30);

/// Does not connect. Returns the kind of the error, which is `None` for `Config`, and its message.
async fn refusal(url: &str) -> (Option<StoreErrorKind>, String) {
    match LockManager::connect(url).await.expect_err("the URL leads to no primary") {
        LockError::Store { source, .. } => (Some(source.kind()), source.to_string()),
        error @ LockError::Config { .. } => (None, error.to_string()),
        error => panic!("{error}"),
    }
}

async fn works(locks: &LockManager) {
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
}
