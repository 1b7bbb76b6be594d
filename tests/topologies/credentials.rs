//! A user name and a password that change while locks are held and waited for.

use std::pin::Pin;

use distlock::LockManager;
use futures_util::{Stream, stream};
use redis::{BasicAuth, RedisResult, StreamingCredentialsProvider};
use test_support::{RedisCluster, RedisServer, eventually, in_time};
use tokio::sync::watch;

use crate::{SOON, clusters::server_of_k, key_is_handed_over, wait_in_queue};

/// Gives the current user, whose password is the same word, and each later one.
#[derive(Clone)]
struct Rotating(watch::Receiver<&'static str>);

impl StreamingCredentialsProvider for Rotating {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let mut users = self.0.clone();
        users.mark_changed();
        Box::pin(stream::unfold(users, async |mut users| {
            users.changed().await.ok()?;
            let user = users.borrow_and_update().to_string();
            Some((Ok(BasicAuth::new(user.clone(), user)), users))
        }))
    }
}

async fn add_user(server: &RedisServer, user: &str) {
    let password = format!(">{user}");
    server.command::<()>(&["ACL", "SETUSER", user, "on", &password, "~*", "&*", "+@all"]).await;
}

/// The user is replaced by another one while a lock is held and waited for. `servers` are all servers that
/// the manager may reach by `url`, and `server` is the one that has the key.
async fn locks_and_waiters_outlast_their_user(url: &str, server: &RedisServer, servers: &[&RedisServer]) {
    for server in servers {
        add_user(server, "first").await;
    }
    let (users, current) = watch::channel("first");
    let connect = || async {
        let url = url.replacen("://", "://nobody@", 1);
        LockManager::builder().url(url).credentials(Rotating(current.clone())).connect().await.unwrap()
    };
    let (one, other) = (connect().await, connect().await);
    let held = one.lock("k").acquire().await.unwrap();
    let waiter = wait_in_queue(server, &other).await;
    for server in servers {
        add_user(server, "second").await;
    }
    users.send("second").unwrap();
    eventually(SOON, async || {
        let clients: String = server.command(&["CLIENT", "LIST"]).await;
        !clients.contains("user=first") && clients.contains("user=second")
    })
    .await;
    // That closes all connections of the user.
    for server in servers {
        server.command::<()>(&["ACL", "DELUSER", "first"]).await;
    }
    held.release().await.unwrap();
    in_time(SOON, waiter).await.unwrap().release().await.unwrap();
    // Later connections begin with the new user.
    for server in servers {
        server.command::<u32>(&["CLIENT", "KILL", "USER", "second"]).await;
    }
    key_is_handed_over(server, &one, &other).await;
}

#[tokio::test]
async fn locks_and_waiters_outlast_the_user_that_they_began_with() {
    let server = RedisServer::start();
    locks_and_waiters_outlast_their_user(&server.url(), &server, &[&server]).await;
}

#[tokio::test]
async fn a_cluster_has_users_that_change() {
    let cluster = tokio::task::spawn_blocking(RedisCluster::start).await.unwrap();
    let server = server_of_k(&cluster).await;
    let servers: Vec<_> = cluster.servers().iter().collect();
    locks_and_waiters_outlast_their_user(&cluster.url(), server, &servers).await;
}

/// The sentinels have credentials of their own.
#[tokio::test]
async fn a_server_behind_sentinels_has_users_that_change() {
    let (server, sentinel) = (RedisServer::start(), RedisServer::start_sentinel());
    let port = server.port().to_string();
    sentinel.command::<()>(&["SENTINEL", "MONITOR", "orders", "127.0.0.1", &port, "1"]).await;
    let url = format!("redis-sentinel://127.0.0.1:{}/orders", sentinel.port());
    locks_and_waiters_outlast_their_user(&url, &server, &[&server]).await;
}
