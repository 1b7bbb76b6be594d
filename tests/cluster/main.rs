//! Locks on a real Redis cluster: the contract of a store, slots that move, primaries that fail, and waiters
//! that follow their key.

use std::{sync::LazyLock, time::Duration};

use distlock::{ClusterStore, Key, LockManager};
use test_support::RedisCluster;

mod atomic_migration;
mod contract;
mod failover;
mod holders;
mod migration;
mod refusals;
mod resource;
mod setup;

const SOON: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
/// A waiter that nobody tells anything asks again after this long at the latest.
const NEXT_CHECK: Duration = Duration::from_millis(1200);

/// Three primaries, for the tests that leave the cluster as it was.
static SHARED: LazyLock<RedisCluster> = LazyLock::new(RedisCluster::start);

/// The shared cluster. Its start blocks a thread, which must not be one of a runtime that others use.
async fn shared() -> &'static RedisCluster {
    tokio::task::spawn_blocking(|| &*SHARED).await.unwrap()
}

/// Three primaries, for a test that changes them.
async fn own() -> RedisCluster {
    tokio::task::spawn_blocking(RedisCluster::start).await.unwrap()
}

fn store_of(cluster: &RedisCluster) -> ClusterStore {
    ClusterStore::open(cluster.urls().iter().map(|url| &**url)).unwrap()
}

async fn connect(cluster: &RedisCluster) -> LockManager {
    LockManager::connect(&cluster.url()).await.unwrap()
}

fn key(name: &str) -> Key {
    Key::new("lock", name).unwrap()
}
