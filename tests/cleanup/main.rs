//! However a locked call ends, its key is free on the server soon after, long before its ttl.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use distlock::LockManager;
use test_support::{RedisServer, eventually};

mod acquires_in_doubt;
mod drain;
mod dropped_futures;
mod endings;
mod faulty_store;
mod faulty_stores;
mod late_grants;
mod managers;
mod panics;
mod releases;
mod runtimes;

/// Longer than any of these tests takes: a key that is gone was released.
const TTL: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(5);

async fn manager(url: String) -> LockManager {
    LockManager::builder().url(url).ttl(TTL).connect().await.unwrap()
}

async fn is_freed(server: &RedisServer) {
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
