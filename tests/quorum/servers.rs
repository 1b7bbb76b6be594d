//! A lock is on all servers that answer, and a minority that fails neither stops nor delays a call.

use std::time::Duration;

use distlock::{LockError, LockManager, StoreErrorKind};
use test_support::{Proxy, RedisServer, eventually, in_time};

use crate::{NEVER, SOON, nodes_with, quorum, servers, url};

#[tokio::test]
async fn a_lock_is_acquired_and_released_on_all_nodes() {
    let servers = servers::<5>();
    let locks = quorum(&servers).connect().await.unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 5).await;
    let LockError::Busy { remaining, .. } = locks.lock("k").acquire().await.unwrap_err() else {
        panic!("busy")
    };
    assert!(remaining.unwrap() > Duration::from_secs(20), "{remaining:?}");
    guard.release().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 0).await;
}

#[tokio::test]
async fn a_minority_that_hangs_delays_no_call() {
    let servers = servers::<5>();
    let locks = quorum(&servers).response_timeout(NEVER).build().unwrap();
    drop(locks.lock("first").acquire().await.unwrap());
    servers[1].pause();
    servers[3].pause();
    for _ in 0..20 {
        let guard = in_time(SOON, locks.lock("k").fenced().acquire()).await.unwrap();
        in_time(SOON, guard.renew()).await.unwrap();
        in_time(SOON, guard.release()).await.unwrap();
    }
    servers[1].resume();
    servers[3].resume();
}

#[tokio::test]
async fn late_grants_are_released_when_the_node_comes_back() {
    let servers = servers::<3>();
    let locks = quorum(&servers).ttl(Duration::from_secs(60)).build().unwrap();
    locks.lock("warm").acquire().await.unwrap().release().await.unwrap();
    servers[2].pause();
    for number in 0..20 {
        locks.lock(format!("k{number}")).acquire().await.unwrap().release().await.unwrap();
    }
    // Some of these calls return in time, and some are dropped before they do.
    for number in 20..40 {
        let _ = tokio::time::timeout(Duration::from_millis(100), locks.lock(format!("k{number}")).acquire())
            .await;
    }
    servers[2].resume();
    let locks_on = async |server: &RedisServer| {
        server.keys().await.into_iter().filter(|key| !key.contains('\u{1f}')).count()
    };
    for server in &servers {
        eventually(Duration::from_secs(30), async || locks_on(server).await == 0).await;
    }
}

#[tokio::test]
async fn without_a_majority_a_call_fails_and_names_each_failed_node() {
    let mut servers = servers::<3>();
    let url = url(&servers).replace("redlock://", "redlock://user:sesame@");
    let locks = quorum(&servers).connect().await.unwrap();
    servers[0].stop();
    servers[2].stop();
    let error = locks.lock("k").acquire().await.unwrap_err();
    let LockError::Store { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), StoreErrorKind::NoQuorum, "{error}");
    let text = error.to_string();
    assert!(text.contains("2 of 3 nodes failed"), "{text}");
    for at in [0, 2] {
        assert!(text.contains(&format!("127.0.0.1:{}: ", servers[at].port())), "{text}");
    }
    eventually(SOON, async || !servers[1].has("lock:k").await).await;
    // The error does not show the password.
    let refused = LockManager::builder().url(&url).connect().await.unwrap_err().to_string();
    assert!(refused.contains("no quorum") && !refused.contains("sesame"), "{refused}");
}

#[tokio::test]
async fn nodes_that_come_back_take_part_again() {
    let mut servers = servers::<3>();
    let locks = quorum(&servers).build().unwrap();
    for (down, server) in servers.iter_mut().enumerate() {
        server.stop();
        // The majority is the server that was down before and the one that is next.
        let again = async || locks.lock("k").wait(Duration::from_secs(5)).acquire().await;
        again().await.unwrap().release().await.unwrap();
        server.restart();
        let key = format!("back:{down}");
        eventually(SOON, async || {
            let guard = locks.lock(&key).acquire().await.unwrap();
            let is_back = server.has(&format!("lock:{key}")).await;
            guard.release().await.unwrap();
            is_back
        })
        .await;
    }
}

#[tokio::test]
async fn a_partition_that_heals_leaves_no_key() {
    let servers = servers::<3>();
    let mut proxies = Vec::new();
    for server in &servers {
        proxies.push(Proxy::to(server.port()).await);
    }
    let hosts: Vec<_> = proxies
        .iter()
        .map(|proxy| proxy.url().trim_start_matches("redis://").trim_end_matches('/').to_owned())
        .collect();
    let url = format!("redlock://{}", hosts.join(","));
    let locks = LockManager::builder()
        .url(url)
        .restart_delay(Duration::ZERO)
        .response_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    // Opens all connections: a majority decides without the last one.
    let warm = locks.lock("warm").acquire().await.unwrap();
    eventually(SOON, async || nodes_with(&servers, "lock:warm").await == 3).await;
    warm.release().await.unwrap();
    // Two nodes get the requests, and their replies do not arrive.
    proxies[..2].iter().for_each(|proxy| proxy.let_replies_flow(false));
    let error = locks.lock("k").acquire().await.unwrap_err();
    assert!(matches!(&error, LockError::Store { .. }), "{error}");
    eventually(SOON, async || nodes_with(&servers, "lock:k").await >= 2).await;
    proxies[..2].iter().for_each(|proxy| proxy.let_replies_flow(true));
    eventually(SOON, async || nodes_with(&servers, "lock:k").await == 0).await;
}

#[tokio::test]
async fn one_server_under_two_names_is_refused() {
    let servers = servers::<2>();
    let url = format!("{},localhost:{}", url(&servers), servers[0].port());
    let twice = || LockManager::builder().url(&url).restart_delay(Duration::ZERO);
    let error = twice().connect().await.expect_err("three names of two servers");
    let text = error.to_string();
    assert!(matches!(error, LockError::Config { .. }), "{text}");
    for name in ["127.0.0.1", "localhost"] {
        assert!(text.contains(&format!("{name}:{}", servers[0].port())), "{text}");
    }
    // Where the server does not say who it is, nothing is known.
    for server in &servers {
        server.command::<()>(&["ACL", "SETUSER", "default", "-info"]).await;
    }
    twice().connect().await.expect("the names may be of three servers");
}
