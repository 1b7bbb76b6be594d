//! A node that has restarted may have lost its data, and is left out for a while.

use std::time::Duration;

use distlock::{LockError, LockManager};
use test_support::{RedisServer, eventually, in_time};

use crate::{SOON, nodes_with, quorum, servers, url};

#[tokio::test]
async fn a_node_that_was_just_started_grants_nothing() {
    let mut servers = servers::<3>();
    let acquire = |locks: LockManager| async move { locks.lock("k").acquire().await };
    let error = acquire(LockManager::builder().url(url(&servers)).build().unwrap()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("2 of 3 nodes failed") && text.contains("restart_delay"), "{text}");

    let delay = Duration::from_secs(2);
    let locks = quorum(&servers).build().unwrap();
    let held = locks.lock("k").acquire().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 3).await;
    for server in &servers {
        eventually(SOON, async || uptime(server).await > delay).await;
    }
    // One node comes back empty and another has lost the key in some other way: together they could grant it
    // to a second owner.
    servers[0].restart();
    servers[1].command::<u8>(&["DEL", "lock:k"]).await;
    let other = quorum(&servers).restart_delay(delay).build().unwrap();
    let refused = other.lock(held.key()).acquire().await;
    assert!(matches!(&refused, Err(LockError::Store { .. } | LockError::Busy { .. })), "{refused:?}");
    // Without the rule, they do.
    let second = quorum(&servers).build().unwrap();
    drop(second.lock(held.key()).wait(SOON).acquire().await.expect("a second owner"));
    // When the time of the rule is over, they do, too.
    let third = in_time(SOON, other.lock(held.key()).wait_forever().acquire()).await;
    drop(third.expect("a second owner"));
}

/// Returns how long a server has run, in whole seconds.
async fn uptime(server: &RedisServer) -> Duration {
    let info: String = server.command(&["INFO", "server"]).await;
    let uptime = info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:")).expect("the uptime");
    Duration::from_secs(uptime.parse().expect("a number"))
}
