//! A node that has restarted may have lost its data, and is left out for a while.

use std::time::Duration;

use distlock::{LockError, LockManager, LockManagerBuilder, Setting};
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
    let other = quorum(&servers).restart_delay(delay).ttl(delay).build().unwrap();
    let refused = other.lock(held.key()).acquire().await;
    assert!(matches!(&refused, Err(LockError::Store { .. } | LockError::Busy { .. })), "{refused:?}");
    // Without the rule, they do.
    let second = quorum(&servers).build().unwrap();
    drop(second.lock(held.key()).wait(SOON).acquire().await.expect("a second owner"));
    // When the time of the rule is over, they do, too.
    let third = in_time(SOON, other.lock(held.key()).wait_forever().acquire()).await;
    drop(third.expect("a second owner"));
}

#[tokio::test]
async fn a_ttl_above_the_restart_delay_is_refused() {
    let nowhere = || LockManager::builder().url("redlock://127.0.0.1:1,127.0.0.1:2,127.0.0.1:3");
    let minute = Duration::from_secs(60);
    let refused = async |builder: LockManagerBuilder, ttl| {
        let locks = builder.build().expect("settings within their ranges");
        let error = locks.lock("k").ttl(ttl).acquire().await.expect_err("there are no servers");
        match &error {
            LockError::InvalidDuration { setting: Setting::Ttl, value, .. } if *value == ttl => {
                Some(error.to_string())
            }
            LockError::Store { .. } => None,
            _ => panic!("{error}"),
        }
    };
    // The delay of 60 s, which is the default, is the longest ttl.
    assert_eq!(refused(nowhere(), minute).await, None);
    let text = refused(nowhere(), minute + Duration::from_millis(1)).await.expect("it is refused");
    assert!(text.contains("60.001s") && text.contains("restart_delay of 60s"), "{text}");
    assert_eq!(refused(nowhere().restart_delay(minute * 10), minute * 10).await, None);
    assert!(refused(nowhere().restart_delay(minute * 10), minute * 11).await.is_some());
    // Zero turns it off, and a single server needs none.
    assert_eq!(refused(nowhere().restart_delay(Duration::ZERO), minute * 60).await, None);
    let single = LockManager::builder().url("redis://127.0.0.1:1");
    assert_eq!(refused(single, minute * 60).await, None);

    let error = nowhere().ttl(minute * 2).build().expect_err("its own ttl is too long").to_string();
    assert!(error.contains("120s") && error.contains("restart_delay of 60s"), "{error}");
}

/// Returns how long a server has run, in whole seconds.
async fn uptime(server: &RedisServer) -> Duration {
    let info: String = server.command(&["INFO", "server"]).await;
    let uptime = info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:")).expect("the uptime");
    Duration::from_secs(uptime.parse().expect("a number"))
}
