//! Clients and connections that the user made.

use std::time::Duration;

use distlock::{LockError, LockManager, LockManagerBuilder};
use redis::{Client, aio::ConnectionManager, cluster::ClusterClient};
use test_support::{RedisCluster, RedisServer, eventually, in_time};
use tokio::task::spawn_blocking;

use crate::{SOON, key_is_handed_over};

fn client(server: &RedisServer) -> Client {
    Client::open(server.url()).unwrap()
}

#[tokio::test]
async fn a_client_has_a_wait_channel_of_its_own() {
    let server = RedisServer::start();
    let one = LockManager::builder().client(client(&server)).connect().await.unwrap();
    let other = LockManager::builder().client(client(&server)).build().unwrap();
    key_is_handed_over(&server, &one, &other).await;
}

#[tokio::test]
async fn a_client_has_the_settings_of_the_builder() {
    let server = RedisServer::start();
    settings_are_used(&server, LockManager::builder().client(client(&server))).await;
    let error = LockManager::builder().client(client(&server)).response_timeout(Duration::ZERO).build();
    assert!(matches!(error.unwrap_err(), LockError::Config { .. }));
}

#[tokio::test]
async fn a_multiplexed_connection_has_the_settings_of_the_builder() {
    let server = RedisServer::start();
    let connection = client(&server).get_multiplexed_async_connection().await.unwrap();
    settings_are_used(&server, LockManager::builder().connection(connection)).await;
}

#[tokio::test]
async fn a_connection_manager_has_the_settings_of_the_builder() {
    let server = RedisServer::start();
    let connection = ConnectionManager::new(client(&server)).await.unwrap();
    settings_are_used(&server, LockManager::builder().connection(connection)).await;
}

#[tokio::test]
async fn a_connection_that_cannot_be_used_is_found_at_connect() {
    let mut server = RedisServer::start();
    let connection = client(&server).get_multiplexed_async_connection().await.unwrap();
    server.stop();
    let error = LockManager::builder().connection(connection).connect().await.unwrap_err();
    assert!(matches!(error, LockError::Store { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_fit_is_found_at_the_first_use_of_a_connection() {
    let no_get = RedisServer::start_with(&["--rename-command", "GET", "unknown"]);
    for (server, reason) in [(&no_get, "GET"), (&RedisServer::start_sentinel(), "redis-sentinel://")] {
        let connection = client(server).get_multiplexed_async_connection().await.unwrap();
        refused(connection, reason).await;
    }
    let cluster = spawn_blocking(RedisCluster::start).await.unwrap();
    let node = client(&cluster.servers()[1]).get_multiplexed_async_connection().await.unwrap();
    refused(node, "`redis-cluster://host`").await;
    // A connection to the whole of it.
    for server in cluster.servers() {
        server.command::<()>(&["ACL", "SETUSER", "default", "-get"]).await;
    }
    refused(ClusterClient::new(cluster.urls()).unwrap().get_async_connection().await.unwrap(), "`+get`")
        .await;
}

/// The connection cannot be used for locks, because of this.
async fn refused<C>(connection: C, reason: &str)
where
    C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
{
    let builder = || LockManager::builder().connection(connection.clone());
    let at_connect = builder().connect().await.unwrap_err();
    let at_first_use = builder().build().unwrap().lock("k").acquire().await.unwrap_err();
    for error in [at_connect, at_first_use] {
        assert!(matches!(&error, LockError::Config { reason: why, .. } if why.contains(reason)), "{error}");
    }
}

/// Each key is at the primary of its slot, and waiters poll.
#[tokio::test]
async fn a_connection_to_a_cluster_has_all_that_locks_need() {
    let cluster = spawn_blocking(RedisCluster::start).await.unwrap();
    let connect = async || {
        let connection = ClusterClient::new(cluster.urls()).unwrap().get_async_connection().await.unwrap();
        LockManager::builder().connection(connection).connect().await.unwrap()
    };
    let (one, other) = (connect().await, connect().await);
    for primary in 0..3 {
        let name = cluster.name_at("k", primary).await;
        let held = one.lock(&name).fenced().acquire().await.unwrap();
        assert!(cluster.servers()[primary].has(&format!("lock:{name}")).await);
        held.renew().await.unwrap();
        let busy = other.lock(&name).acquire().await.unwrap_err();
        assert!(matches!(busy, LockError::Busy { .. }), "{busy}");
        let waiter = tokio::spawn(other.lock(&name).fenced().wait(Duration::from_secs(60)).acquire());
        let before = held.fencing_token().unwrap();
        held.release().await.unwrap();
        let next = in_time(SOON, waiter).await.unwrap().unwrap();
        assert!(next.fencing_token().unwrap() > before);
        next.release().await.unwrap();
    }
}

#[tokio::test]
async fn waiters_over_a_connection_of_the_users_own_get_the_key() {
    let server = RedisServer::start();
    let connection = ConnectionManager::new(client(&server)).await.unwrap();
    let locks = LockManager::builder().connection(connection).build().unwrap();
    let holder = LockManager::connect(server.url()).await.unwrap().lock("k").acquire().await.unwrap();
    let acquire = locks.lock("k").wait(Duration::from_secs(60)).acquire();
    let waiter = tokio::spawn(async { acquire.await.unwrap() });
    tokio::time::sleep(Duration::from_millis(50)).await;
    holder.release().await.unwrap();
    in_time(SOON, waiter).await.unwrap().release().await.unwrap();
}

async fn settings_are_used(server: &RedisServer, builder: LockManagerBuilder) {
    let ttl = Duration::from_secs(7);
    let day = Duration::from_secs(24 * 60 * 60);
    let locks = builder.namespace("shop").ttl(ttl).fence_lifetime(day).connect().await.unwrap();
    let guard = locks.lock("k").fenced().acquire().await.unwrap();
    assert!(guard.remaining() <= ttl && guard.fencing_token().is_some());
    assert!(server.has("shop:k").await);
    let counter = server.fencing_counter_of("shop:k").await.expect("a counter");
    let lasts: u64 = server.command(&["TTL", &counter]).await;
    assert!(lasts <= day.as_secs(), "{lasts} s");
    guard.release().await.unwrap();
    eventually(SOON, async || !server.has("shop:k").await).await;
}
