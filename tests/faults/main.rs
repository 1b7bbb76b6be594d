//! Servers and callers that do something wrong get a typed error in a bounded time, and the manager works
//! again afterwards.

use std::time::{Duration, Instant};

use distlock::{LockError, LockManager, StoreErrorKind};
use test_support::RedisServer;

mod acl;
mod acl_without_scripts;
mod bad_input;
mod diagnosis;
mod messages;
mod outages;
mod proxies;
mod refusals;
mod set_up;
#[cfg(all(feature = "tls", feature = "sentinel", feature = "cluster"))]
mod url_parameters;
mod urls;
mod warnings;

const SOON: Duration = Duration::from_secs(5);

/// Returns a manager that has not connected yet.
fn lazy(url: &str) -> LockManager {
    LockManager::builder().url(url).build().unwrap()
}

/// Makes a call, which must soon fail with a store error that names the key. Returns the kind of the error.
async fn fault(locks: &LockManager) -> StoreErrorKind {
    let start = Instant::now();
    let error = locks.lock("order:42").acquire().await.unwrap_err();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert!(error.to_string().contains("`order:42`"), "{error}");
    let LockError::Store { key, source, .. } = error else { panic!("{error}") };
    assert_eq!(key, "order:42");
    source.kind()
}

async fn works(locks: &LockManager) {
    let guard = locks.lock("order:42").acquire().await.unwrap();
    assert!(guard.is_held());
    guard.release().await.unwrap();
}

/// The commands of the server that give a lock back without a script.
async fn own_releases(server: &RedisServer) -> Vec<&'static str> {
    let mut known = Vec::new();
    for command in ["delifeq", "delex"] {
        let told: Vec<redis::Value> = server.command(&["COMMAND", "INFO", command]).await;
        if told.iter().any(|value| matches!(value, redis::Value::Array(_))) {
            known.push(command);
        }
    }
    known
}

/// Whether the server renews a lease without a script: by `SET .. IFEQ`.
async fn renews_by_set(server: &RedisServer) -> bool {
    let attempt = "local answer = redis.pcall('SET', KEYS[1], 'x', 'IFEQ', 'y') return answer and 0 or 1";
    server.command::<u8>(&["EVAL", attempt, "1", "unused"]).await == 1
}
