//! Servers that refuse, cannot grant, or are not lock servers at all.

use std::time::{Duration, Instant};

use distlock::{LockError, LockManager, StoreErrorKind};
use test_support::{RedisServer, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::{SOON, fault, lazy, own_releases, works};

/// The rules are changed while a lock is held.
#[tokio::test]
async fn an_error_names_the_command_that_the_user_must_not_run() {
    let server = RedisServer::start();
    server.command::<()>(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all"]).await;
    let locks = LockManager::connect(format!("redis://app:pw@127.0.0.1:{}/", server.port())).await.unwrap();
    let guard = locks.lock("order:42").ttl(Duration::from_millis(200)).acquire().await.unwrap();
    for command in own_releases(&server).await.into_iter().chain(["eval", "evalsha"]) {
        server.command::<()>(&["ACL", "SETUSER", "app", &format!("-{command}")]).await;
    }
    let error = guard.release().await.unwrap_err();
    assert!(
        matches!(&error, LockError::Store { source, .. } if source.kind() == StoreErrorKind::Refused),
        "{error}"
    );
    assert!(error.to_string().contains("NOPERM") && error.to_string().contains("eval"), "{error}");
    eventually(SOON, || async { locks.failed_releases() == 1 }).await;
}

#[tokio::test]
async fn missing_or_wrong_credentials_are_refused() {
    let server = RedisServer::start_with(&["--requirepass", "s3cret"]);
    let with = |login: &str| format!("redis://{login}127.0.0.1:{}/", server.port());
    assert_eq!(fault(&lazy(&with(""))).await, StoreErrorKind::Refused);
    let error = LockManager::connect(with(":hunter2@")).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    works(&LockManager::connect(with(":s3cret@")).await.unwrap()).await;
}

#[tokio::test]
async fn a_database_that_the_server_does_not_have_is_named_as_the_cause() {
    let server = RedisServer::start();
    let error = LockManager::connect(format!("{}99", server.url())).await.unwrap_err().to_string();
    assert!(error.contains("refused") && error.contains("DB index is out of range"), "{error}");
}

#[tokio::test]
async fn a_password_in_front_of_the_scheme_is_not_repeated() {
    for url in ["admin:hunter2@redis://127.0.0.1/", "hunter2@127.0.0.1://"] {
        let error = LockManager::connect(url).await.unwrap_err();
        assert!(matches!(error, LockError::Config { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
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
async fn a_read_only_replica_refuses_grants() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    server.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(fault(&locks).await, StoreErrorKind::ReadOnly);
    server.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    works(&locks).await;
}

/// A failover has made the server behind an open connection a replica, before the key was replicated to it.
/// The missing key proves nothing.
#[tokio::test]
async fn a_replica_without_the_key_does_not_count_as_a_lost_lease() {
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

#[tokio::test]
async fn a_key_of_another_type_is_an_error_at_once() {
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

/// Starts a server that gives the same answer to every command. A real Redis cannot be made to give these
/// answers.
async fn answering(answer: &'static str) -> LockManager {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut question = [0; 4096];
                while matches!(client.read(&mut question).await, Ok(1..)) {
                    let asked = question.split(|byte| *byte == b'*').count();
                    if client.write_all(answer.repeat(asked.min(16)).as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    lazy(&format!("redis://{address}/"))
}

#[tokio::test]
async fn every_unusable_answer_is_an_error_of_its_kind() {
    for (answer, kind) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", StoreErrorKind::Nonsense),
        ("*1\r\n:5\r\n", StoreErrorKind::Nonsense),
        (":7\r\n", StoreErrorKind::Nonsense),
        ("-LOADING Redis is loading the dataset in memory\r\n", StoreErrorKind::Unavailable),
        ("-MASTERDOWN Link with MASTER is down\r\n", StoreErrorKind::Unavailable),
        ("-CLUSTERDOWN The cluster is down\r\n", StoreErrorKind::Unavailable),
        ("-MISCONF Redis is configured to save\r\n", StoreErrorKind::Unavailable),
        ("-BUSY Redis is busy running a script\r\n", StoreErrorKind::Unavailable),
        ("-NOPERM this user has no permissions\r\n", StoreErrorKind::Refused),
    ] {
        let locks = answering(answer).await;
        assert_eq!(fault(&locks).await, kind, "{answer}");
    }
    for answer in [
        "-MOVED 3999 127.0.0.1:6381\r\n",
        "-ERR unknown command `SET`, with args beginning with: `lock:k` `the-owner-token`\r\n",
    ] {
        let error = answering(answer).await.lock("order:42").acquire().await.unwrap_err();
        assert!(matches!(&error, LockError::Config { key, .. } if key == "order:42"), "{error}");
        assert!(!format!("{error} {error:?}").contains("owner-token"), "{error:?}");
    }
}
