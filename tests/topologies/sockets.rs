//! A server at a Unix socket.

use distlock::{LockManager, StoreErrorKind};
use test_support::RedisServer;

use crate::{Directory, clients, key_is_handed_over};

/// Starts a server that listens at a Unix socket too. Returns the socket's path.
fn server(settings: &[&str]) -> (RedisServer, String) {
    let mut all = vec!["--unixsocket", "redis.sock"];
    all.extend(settings);
    let server = RedisServer::start_with(&all);
    let socket = server.directory().join("redis.sock").to_str().unwrap().to_owned();
    (server, socket)
}

#[tokio::test]
async fn a_key_is_handed_over_at_a_unix_socket() {
    let (server, socket) = server(&[]);
    let one = LockManager::connect(format!("unix://{socket}")).await.unwrap();
    let other = LockManager::connect(format!("redis+unix://{socket}")).await.unwrap();
    key_is_handed_over(&server, &one, &other).await;
    // The commands of both and the waiter's channel went through the socket, and nothing beside it.
    assert_eq!(clients(&server, &['U']).await, 3);
    assert_eq!(clients(&server, &['U', 'P']).await, 1);
}

#[tokio::test]
async fn a_socket_may_need_a_password() {
    let (_server, socket) = server(&["--requirepass", "p@ss&"]);
    let refused = LockManager::connect(format!("unix://{socket}?pass=hunter2")).await.unwrap_err();
    assert!(refused.to_string().contains("password in the URL"), "{refused}");
    let locks = LockManager::connect(format!("unix://{socket}?pass=p%40ss%26&db=2")).await.unwrap();
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_a_server_that_is_down() {
    let directory = Directory::new();
    let url = format!("unix://{}/redis.sock?pass=hunter2", directory.0.display());
    let error = LockManager::connect(&url).await.unwrap_err();
    let distlock::LockError::Store { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), StoreErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("redis.sock: ") && !error.to_string().contains("hunter2"), "{error}");
}
