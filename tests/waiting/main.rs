//! Waiting is bounded, cheap and in the order of arrival; a release hands the key to the next waiter, in
//! whatever process it is.

use std::{future::Future, time::Duration};

use distlock::{LockGuard, LockManager, LockRequest};
use test_support::{RedisServer, eventually, in_time};
use tokio::task::{JoinError, JoinHandle};

mod aof;
mod bounds;
mod broken_connections;
mod broken_locks;
mod channels;
mod claims;
mod cost;
mod fenced_hand_over;
mod foreign_libraries;
mod hand_over;
mod lapsed_keys;
mod local_hand_over;
mod order;
mod passed_over;
mod round_trips;
mod several_runtimes;
mod still_runtimes;
mod unclaimed;
mod unclaimed_hand_over;

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(5);

async fn manager(url: String) -> LockManager {
    LockManager::connect(url).await.unwrap()
}

/// Returns how many waiters of the key `k` are in the server's wait queue.
async fn queue_length(server: &RedisServer) -> usize {
    let order = server.keys().await.into_iter().find(|key| key.starts_with("lock:k\u{1f}z"));
    let Some(order) = order else { return 0 };
    server.command(&["ZCARD", &order]).await
}

async fn queue_has(server: &RedisServer, length: usize) {
    eventually(SOON, || async { queue_length(server).await == length }).await;
}

/// Returns how often the server has run scripts.
async fn scripts(server: &RedisServer) -> u64 {
    server.calls(&["evalsha", "eval"]).await
}

/// Starts a task that waits for a key.
fn wait_for(request: LockRequest) -> JoinHandle<LockGuard> {
    let acquire = request.wait_forever().acquire();
    tokio::spawn(async { acquire.await.expect("it waits forever") })
}

/// Starts a task that waits for the key `k`, and waits until the task is in the server's wait queue, which
/// then has that length.
async fn wait_in_queue(server: &RedisServer, locks: &LockManager, length: usize) -> JoinHandle<LockGuard> {
    let waiter = wait_for(locks.lock("k"));
    queue_has(server, length).await;
    waiter
}

/// Returns what a task returns soon.
async fn gets<T>(waiter: impl Future<Output = Result<T, JoinError>>) -> T {
    in_time(SOON, waiter).await.unwrap()
}
