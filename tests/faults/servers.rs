//! Servers that are down, come back, hang, or are no lock servers at all: a typed error in a bounded time, and a manager that works again.

use std::time::{Duration, Instant};

use distlock::{LockError, LockManager, LostReason, StoreErrorKind};
use test_support::{Proxy, RedisServer, eventually, free_port, in_time};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const SOON: Duration = Duration::from_secs(5);

fn lazy(url: &str) -> LockManager {
    LockManager::builder().url(url).build().unwrap()
}

/// The kind of a store error, which must come soon and name the key.
async fn fault(locks: &LockManager) -> StoreErrorKind {
    let start = Instant::now();
    let error = locks.lock("order:42").acquire().await.unwrap_err();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert!(error.to_string().contains("`order:42`"), "{error}");
    let LockError::Store { key, source } = error else { panic!("{error}") };
    assert_eq!(key, "order:42");
    source.kind()
}

async fn works(locks: &LockManager) {
    let guard = locks.lock("order:42").acquire().await.unwrap();
    assert!(guard.is_held());
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_down_at_the_start() {
    let mut server = RedisServer::start();
    let locks = lazy(&server.url());
    server.stop();
    assert_eq!(fault(&locks).await, StoreErrorKind::Unreachable);
    assert_eq!(fault(&locks).await, StoreErrorKind::Unreachable);
    server.restart();
    works(&locks).await;
}

#[tokio::test]
async fn a_server_that_goes_down_under_the_body_and_comes_back() {
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
    // An idle connection that the server closes is the commonest break of all.
    server.command::<u8>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    works(&locks).await;
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closed_is_not_noticed_by_a_guard() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let kill = || server.command::<u8>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let guard = locks.lock("order:42").acquire().await.unwrap();
    kill().await;
    guard.renew().await.unwrap();
    kill().await;
    guard.release().await.unwrap();
    assert_eq!(server.keys().await, [""; 0], "free when the release returns");
}

#[tokio::test]
async fn who_waits_outlasts_a_restart() {
    let mut server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    server.stop();
    let waiter = tokio::spawn(locks.lock("order:42").wait(Duration::from_secs(20)).acquire());
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.restart();
    assert!(waiter.await.unwrap().unwrap().is_held());
}

#[tokio::test]
async fn waiting_forever_for_a_dead_server_ends_after_a_ttl() {
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
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
    works(&locks).await;
}

#[tokio::test]
async fn a_slow_server_is_waited_for_as_long_as_the_response_timeout_says() {
    let server = RedisServer::start();
    let builder = LockManager::builder().url(server.url()).response_timeout(SOON);
    let locks = builder.connect().await.unwrap();
    server.pause();
    let slow = async {
        // Longer than the default.
        tokio::time::sleep(Duration::from_millis(1300)).await;
        server.resume();
    };
    let (guard, ()) = tokio::join!(locks.lock("order:42").acquire(), slow);
    assert!(guard.unwrap().is_held());
}

#[tokio::test]
async fn scripts_that_the_server_forgets_under_a_body() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let ttl = Duration::from_millis(300);
    let body = locks.lock("order:42").ttl(ttl).run(async {
        for _ in 0..6 {
            server.command::<()>(&["SCRIPT", "FLUSH"]).await;
            tokio::time::sleep(ttl / 3).await;
        }
        server.command::<()>(&["SCRIPT", "FLUSH"]).await;
    });
    body.await.unwrap();
    assert_eq!(server.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_under_the_body() {
    let mut server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let server_ref = &mut server;
    let body = locks.lock("order:42").ttl(SOON).run(async {
        server_ref.restart();
        std::future::pending::<()>().await;
    });
    assert!(matches!(body.await, Err(LockError::Lost { reason: LostReason::NotOwner, .. })));
    assert_eq!(server.keys().await, [""; 0], "a renewal never makes the key anew");
}

#[tokio::test]
async fn a_ttl_below_a_round_trip_is_no_grant() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::connect(proxy.url()).await.unwrap();
    works(&locks).await;
    proxy.let_replies_flow(false);
    let call = tokio::spawn(locks.lock("order:42").ttl(Duration::from_millis(50)).acquire());
    tokio::time::sleep(Duration::from_millis(80)).await;
    proxy.let_replies_flow(true);
    let error = call.await.unwrap().unwrap_err();
    assert!(
        matches!(&error, LockError::Store { source, .. } if source.kind() == StoreErrorKind::TooLate),
        "{error}"
    );
    assert!(error.to_string().contains("raise the ttl"), "{error}");
}

#[tokio::test]
async fn a_user_who_may_not_run_scripts_is_told_so() {
    let server = RedisServer::start();
    server.command::<()>(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-eval", "-evalsha"]).await;
    let locks = LockManager::connect(format!("redis://app:pw@127.0.0.1:{}/", server.port())).await.unwrap();
    let guard = locks.lock("order:42").ttl(Duration::from_millis(200)).acquire().await.unwrap();
    let error = guard.release().await.unwrap_err();
    assert!(
        matches!(&error, LockError::Store { source, .. } if source.kind() == StoreErrorKind::Refused),
        "{error}"
    );
    assert!(error.to_string().contains("NOPERM") && error.to_string().contains("eval"), "{error}");
    eventually(SOON, || async { locks.failed_releases() == 1 }).await;
}

#[tokio::test]
async fn connect_says_at_once_what_is_wrong() {
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

#[tokio::test]
async fn credentials_that_are_missing_or_wrong() {
    let server = RedisServer::start_with(&["--requirepass", "s3cret"]);
    let with = |login: &str| format!("redis://{login}127.0.0.1:{}/", server.port());
    assert_eq!(fault(&lazy(&with(""))).await, StoreErrorKind::Refused);
    let error = LockManager::connect(with(":hunter2@")).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    works(&LockManager::connect(with(":s3cret@")).await.unwrap()).await;
}

#[tokio::test]
async fn a_server_out_of_memory_refuses_grants_and_still_renews_and_releases() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let guard = locks.lock("held").acquire().await.unwrap();
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(fault(&locks).await, StoreErrorKind::Unavailable);
    guard.renew().await.unwrap();
    guard.release().await.unwrap();
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    works(&locks).await;
}

#[tokio::test]
async fn a_read_only_replica() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    server.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(fault(&locks).await, StoreErrorKind::ReadOnly);
    server.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    works(&locks).await;
}

/// A failover has demoted the server behind an open connection before the key was replicated: that the replica lacks it says nothing.
#[tokio::test]
async fn a_replica_that_lacks_the_key_is_not_taken_for_a_lost_lease() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    server.command::<u8>(&["DEL", "lock:k"]).await;
    server.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    for error in [guard.renew().await.unwrap_err(), guard.release().await.unwrap_err()] {
        let LockError::Store { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), StoreErrorKind::ReadOnly, "{error}");
    }
}

/// The host's name means another server after a failover, and the connection to the old one is as good as ever.
#[tokio::test]
async fn a_failover_behind_a_name_is_followed() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let name = Proxy::to(old.port()).await;
    let timeout = Duration::from_millis(200);
    let locks = LockManager::builder().url(name.url()).response_timeout(timeout).connect().await.unwrap();
    let guard = locks.lock("held").acquire().await.unwrap();
    tokio::time::sleep(timeout).await;
    old.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    name.redirect(new.port());
    locks.lock("k").wait(SOON).run(async { assert!(new.has("lock:k").await) }).await.unwrap();
    drop(guard);
}

/// A firewall forgets a connection: what is sent over it goes nowhere, and nobody closes it.
#[tokio::test]
async fn a_connection_that_was_dropped_without_a_word_is_replaced() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let timeout = Duration::from_millis(200);
    let locks = LockManager::builder().url(proxy.url()).response_timeout(timeout).connect().await.unwrap();
    let guard = locks.lock("held").acquire().await.unwrap();
    tokio::time::sleep(timeout).await;
    proxy.strand();
    assert_eq!(fault(&locks).await, StoreErrorKind::TimedOut);
    works(&locks).await;
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_and_not_a_wait() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    server.command::<u8>(&["LPUSH", "lock:order:42", "theirs"]).await;
    assert_eq!(fault(&locks).await, StoreErrorKind::WrongType);
    let start = Instant::now();
    let waited = locks.lock("order:42").wait_forever().acquire().await;
    assert!(
        matches!(waited, Err(LockError::Store { source, .. }) if source.kind() == StoreErrorKind::WrongType)
    );
    assert!(start.elapsed() < SOON);
    assert!(server.has("lock:order:42").await);
}

/// Something that listens and gives one answer to everything. No Redis gives these answers on request.
async fn answering(answer: &'static str) -> LockManager {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut question = [0; 4096];
                while matches!(client.read(&mut question).await, Ok(1..)) {
                    let asked = question.split(|byte| *byte == b'*').count();
                    if client.write_all(answer.repeat(asked.min(8)).as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    lazy(&format!("redis://{address}/"))
}

#[tokio::test]
async fn answers_that_no_lock_server_gives() {
    for (answer, kind) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", StoreErrorKind::Nonsense),
        ("*1\r\n:5\r\n", StoreErrorKind::Nonsense),
        (":7\r\n", StoreErrorKind::Nonsense),
        ("-LOADING Redis is loading the dataset in memory\r\n", StoreErrorKind::Unavailable),
        ("-MASTERDOWN Link with MASTER is down\r\n", StoreErrorKind::Unavailable),
        ("-CLUSTERDOWN The cluster is down\r\n", StoreErrorKind::Unavailable),
        ("-MISCONF Redis is configured to save\r\n", StoreErrorKind::Unavailable),
        ("-BUSY Redis is busy running a script\r\n", StoreErrorKind::Unavailable),
        ("-MOVED 3999 127.0.0.1:6381\r\n", StoreErrorKind::Refused),
        ("-NOPERM this user has no permissions\r\n", StoreErrorKind::Refused),
        (
            "-ERR unknown command `SET`, with args beginning with: `lock:k` `the-owner-token`\r\n",
            StoreErrorKind::Refused,
        ),
    ] {
        let locks = answering(answer).await;
        assert_eq!(fault(&locks).await, kind, "{answer}");
        let error = locks.lock("order:42").acquire().await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("owner-token"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let builder = LockManager::builder().url(url).response_timeout(Duration::from_millis(100));
    let locks = builder.connect_timeout(Duration::from_millis(100)).build().unwrap();
    fault(&locks).await;
}

#[tokio::test]
async fn callers_of_a_server_that_accepts_and_says_nothing_do_not_wait_for_each_other() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", silent.local_addr().unwrap());
    let locks = LockManager::builder().url(url).connect_timeout(Duration::from_millis(200)).build().unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..100 {
        let lock = locks.lock(format!("k{number}"));
        calls.spawn(async move { lock.acquire().await.unwrap_err() });
    }
    // One after the other they would take 20 s.
    for error in in_time(Duration::from_secs(10), calls.join_all()).await {
        let LockError::Store { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), StoreErrorKind::Unreachable, "nothing was sent: {error}");
    }
    drop(silent);
}
