//! Locks on a quorum of nodes, some of which fail.

use std::time::Duration;

use distlock::{LockManager, LockManagerBuilder};
use test_support::RedisServer;

mod broken_locks;
mod contention;
mod failed_attempts;
mod fencing;
mod heals;
mod late_node;
mod late_nodes;
mod leases;
mod order_on_nodes;
mod restarts;
mod servers;
mod standing_runtimes;
mod successors;

const SOON: Duration = Duration::from_secs(10);
/// Longer than any test takes: a call that waits for a node that hangs fails its test.
const NEVER: Duration = Duration::from_secs(120);

fn servers<const N: usize>() -> [RedisServer; N] {
    std::array::from_fn(|_| RedisServer::start())
}

fn url(servers: &[RedisServer]) -> String {
    let hosts: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    format!("redlock://{}", hosts.join(","))
}

/// Returns the builder of a manager on these servers. A server that has just started is not left out.
fn quorum(servers: &[RedisServer]) -> LockManagerBuilder {
    LockManager::builder().url(url(servers)).restart_delay(Duration::ZERO)
}

/// Returns how many of the servers have the key.
async fn nodes_with(servers: &[RedisServer], key: &str) -> usize {
    let mut number = 0;
    for server in servers {
        number += usize::from(server.has(key).await);
    }
    number
}
