//! Servers that are down, come back, hang or move.

use std::time::{Duration, Instant};

use distlock::{LockError, LockManager, LostReason, StoreErrorKind};
use test_support::{Proxy, RedisServer, eventually, free_port, in_time};
use tokio::{net::TcpListener, time::sleep};

use crate::{SOON, fault, lazy, works};

#[tokio::test]
async fn a_server_that_is_down_at_first_is_used_when_it_is_up() {
    let mut server = RedisServer::start();
    let locks = lazy(&server.url());
    server.stop();
    assert_eq!(fault(&locks).await, StoreErrorKind::Unreachable);
    assert_eq!(fault(&locks).await, StoreErrorKind::Unreachable);
    server.restart();
    works(&locks).await;
}

#[tokio::test]
async fn a_server_that_goes_down_ends_the_body_and_is_used_again_when_it_is_back() {
    let mut server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let start = Instant::now();
    let body = locks.lock("order:42").ttl(Duration::from_millis(500)).run(async {
        server.stop();
        std::future::pending::<()>().await;
    });
    assert!(matches!(body.await, Err(LockError::Lost { .. })));
    assert!(start.elapsed() < SOON);
    fault(&locks).await;
    server.restart();
    works(&locks).await;
    works(&locks).await;
}

#[tokio::test]
async fn a_restart_between_two_calls_is_not_noticed() {
    let mut server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    works(&locks).await;
    server.restart();
    works(&locks).await;
    // The most frequent fault: the server closes an idle connection.
    server.command::<u8>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    works(&locks).await;
}

#[tokio::test]
async fn a_guard_does_not_notice_that_the_server_closed_an_idle_connection() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let kill = || server.command::<u8>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let guard = locks.lock("order:42").acquire().await.unwrap();
    kill().await;
    guard.renew().await.unwrap();
    kill().await;
    guard.release().await.unwrap();
    assert_eq!(server.keys().await, [""; 0], "the key is free when the release returns");
}

#[tokio::test]
async fn a_waiter_outlasts_a_restart() {
    let mut server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    server.stop();
    let waiter = tokio::spawn(locks.lock("order:42").wait(Duration::from_secs(20)).acquire());
    sleep(Duration::from_millis(100)).await;
    server.restart();
    assert!(waiter.await.unwrap().unwrap().is_held());
}

#[tokio::test]
async fn wait_forever_for_a_dead_server_ends_after_a_ttl() {
    let locks = lazy(&format!("redis://127.0.0.1:{}/", free_port()));
    let start = Instant::now();
    let waited = locks.lock("order:42").ttl(Duration::from_millis(300)).wait_forever().acquire().await;
    assert!(matches!(waited, Err(LockError::Store { .. })));
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < SOON);
}

#[tokio::test]
async fn a_hanging_server_is_given_up_after_the_response_timeout() {
    let server = RedisServer::start();
    let builder = LockManager::builder().url(server.url()).response_timeout(Duration::from_millis(100));
    let locks = builder.connect().await.unwrap();
    works(&locks).await;
    server.pause();
    assert_eq!(fault(&locks).await, StoreErrorKind::TimedOut);
    let start = Instant::now();
    locks.lock("order:42").wait(Duration::from_millis(300)).acquire().await.unwrap_err();
    assert!(start.elapsed() < SOON);
    server.resume();
    // The call that was given up may be executed after the server has answered others.
    eventually(SOON, || async { server.calls(&["set"]).await >= 2 }).await;
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
    works(&locks).await;
}

#[tokio::test]
async fn a_slow_server_is_waited_for_until_the_response_timeout() {
    let server = RedisServer::start();
    let builder = LockManager::builder().url(server.url()).response_timeout(SOON);
    let locks = builder.connect().await.unwrap();
    server.pause();
    let slow = async {
        // Longer than the default of the response timeout.
        sleep(Duration::from_millis(1300)).await;
        server.resume();
    };
    let (guard, ()) = tokio::join!(locks.lock("order:42").acquire(), slow);
    assert!(guard.unwrap().is_held());
}

#[tokio::test]
async fn scripts_that_the_server_forgets_are_loaded_again() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let ttl = Duration::from_millis(300);
    let body = locks.lock("order:42").ttl(ttl).run(async {
        for _ in 0..6 {
            server.command::<()>(&["SCRIPT", "FLUSH"]).await;
            sleep(ttl / 3).await;
        }
        server.command::<()>(&["SCRIPT", "FLUSH"]).await;
    });
    body.await.unwrap();
    assert_eq!(server.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_ends_the_body() {
    let mut server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let server_ref = &mut server;
    let body = locks.lock("order:42").ttl(SOON).run(async {
        server_ref.restart();
        std::future::pending::<()>().await;
    });
    assert!(matches!(body.await, Err(LockError::Lost { reason: LostReason::NotOwner, .. })));
    assert_eq!(server.keys().await, [""; 0], "a renewal never creates the key");
}

#[tokio::test]
async fn a_grant_that_arrives_after_its_ttl_is_an_error() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::connect(proxy.url()).await.unwrap();
    works(&locks).await;
    proxy.let_replies_flow(false);
    let call = tokio::spawn(locks.lock("order:42").ttl(Duration::from_millis(50)).acquire());
    sleep(Duration::from_millis(80)).await;
    proxy.let_replies_flow(true);
    let error = call.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, LockError::Store { source, .. } if source.kind() == StoreErrorKind::TooLate),
        "{error}"
    );
    assert!(error.to_string().contains("raise the ttl"), "{error}");
}

#[tokio::test]
async fn connect_reports_an_unreachable_server_without_its_password() {
    let port = free_port();
    let error = LockManager::connect(format!("redis://:hunter2@127.0.0.1:{port}/")).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(
        matches!(&error, LockError::Store { source, .. } if source.kind() == StoreErrorKind::Unreachable)
    );
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    assert!(!text.contains("hunter2"), "{text}");

    let error = LockManager::connect("redis://no-such-host.invalid/").await.unwrap_err();
    assert!(
        matches!(&error, LockError::Store { source, .. } if source.kind() == StoreErrorKind::Unreachable),
        "{error}"
    );
}

/// After a failover the name of the host means another server, while the connection to the old server still
/// works.
#[tokio::test]
async fn a_failover_behind_a_name_is_followed() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let name = Proxy::to(old.port()).await;
    let timeout = Duration::from_millis(200);
    let locks = LockManager::builder().url(name.url()).response_timeout(timeout).connect().await.unwrap();
    let guard = locks.lock("held").acquire().await.unwrap();
    sleep(timeout).await;
    old.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    name.redirect(new.port());
    locks.lock("k").wait(SOON).run(async { assert!(new.has("lock:k").await) }).await.unwrap();
    drop(guard);
}

/// A firewall has forgotten the connection: what is sent over it is discarded, and neither side closes it.
#[tokio::test]
async fn a_silently_dropped_connection_is_replaced() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let timeout = Duration::from_millis(200);
    let locks = LockManager::builder().url(proxy.url()).response_timeout(timeout).connect().await.unwrap();
    let guard = locks.lock("held").acquire().await.unwrap();
    sleep(timeout).await;
    proxy.strand();
    assert_eq!(fault(&locks).await, StoreErrorKind::TimedOut);
    works(&locks).await;
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_an_error_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let builder = LockManager::builder().url(url).response_timeout(Duration::from_millis(100));
    let locks = builder.connect_timeout(Duration::from_millis(100)).build().unwrap();
    fault(&locks).await;
}

#[tokio::test]
async fn callers_of_a_silent_server_do_not_wait_for_each_other() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", silent.local_addr().unwrap());
    let locks = LockManager::builder().url(url).connect_timeout(Duration::from_millis(200)).build().unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..100 {
        let lock = locks.lock(format!("k{number}"));
        calls.spawn(async move { lock.acquire().await.unwrap_err() });
    }
    // One after the other, the calls would take 20 s.
    for error in in_time(Duration::from_secs(10), calls.join_all()).await {
        let LockError::Store { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), StoreErrorKind::Unreachable, "nothing was sent: {error}");
    }
    drop(silent);
}
