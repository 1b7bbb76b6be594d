//! A server that cannot keep a promise is found when a manager connects, or else by its first lock, before
//! anything was taken.

use std::time::Duration;

use distlock::{LockError, LockManager};
use test_support::{RedisServer, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{SOON, lazy, own_releases, renews_by_set, works};

/// The reason why `connect` refuses the server.
async fn refusal(url: &str) -> String {
    let error = LockManager::connect(url).await.expect_err("the server is not fit for locks");
    assert!(matches!(&error, LockError::Config { key, .. } if key.is_empty()), "{error}");
    error.to_string()
}

/// The reason why the first lock of a manager that has not connected is refused.
async fn refusal_of_a_lock(url: &str) -> String {
    let error = lazy(url).lock("order:42").acquire().await.expect_err("the server is not fit for locks");
    assert!(matches!(&error, LockError::Config { key, .. } if key == "order:42"), "{error}");
    error.to_string()
}

/// Starts a proxy that replaces a text, in both directions, by one of the same length. Returns its URL.
async fn edited(server: u16, text: &str, by: &str) -> String {
    assert_eq!(text.len(), by.len());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (text, by) = (text.to_owned(), by.to_owned());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let ((from_client, to_client), (from_server, to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(pass(from_client, to_server, text.clone(), by.clone()));
            tokio::spawn(pass(from_server, to_client, text.clone(), by.clone()));
        }
    });
    format!("redis://{address}/")
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, text: String, by: String) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let passed = String::from_utf8_lossy(&bytes[..count]).replace(&text, &by);
        if to.write_all(passed.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A cluster of one server.
async fn node_of_a_cluster() -> RedisServer {
    let server = RedisServer::start_node_of_a_cluster();
    let slots: Vec<_> = (0..16_384).map(|slot: u16| slot.to_string()).collect();
    let words = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str));
    server.command::<()>(&words.collect::<Vec<_>>()).await;
    server
}

#[tokio::test]
async fn a_node_of_a_cluster_is_refused() {
    let server = node_of_a_cluster().await;
    for text in [refusal(&server.url()).await, refusal_of_a_lock(&server.url()).await] {
        assert!(text.contains("node of a Redis Cluster") && text.contains("not part of a cluster"), "{text}");
    }
    assert!(server.keys().await.is_empty());
}

/// Valkey says `server_mode` where Redis says `redis_mode`.
#[tokio::test]
async fn a_node_of_a_cluster_of_valkey_is_refused() {
    let server = node_of_a_cluster().await;
    let url = edited(server.port(), "redis_mode:cluster\r\nos:", "server_mode:cluster\r\no:").await;
    let text = refusal(&url).await;
    assert!(text.contains("node of a Redis Cluster"), "{text}");
}

#[tokio::test]
async fn a_sentinel_is_refused() {
    let sentinel = RedisServer::start_sentinel();
    for text in [refusal(&sentinel.url()).await, refusal_of_a_lock(&sentinel.url()).await] {
        assert!(text.contains("Sentinel") && text.contains("`redis-sentinel://`"), "{text}");
    }
}

#[tokio::test]
async fn a_replica_is_refused_and_its_primary_is_named() {
    let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    let text = refusal(&replica.url()).await;
    assert!(text.contains("replica") && text.contains(&format!("127.0.0.1:{port}")), "{text}");
    // A failover may be under way, so a lock that waits tries again.
    let locks = lazy(&replica.url());
    let waiter = tokio::spawn(locks.lock("k").wait(SOON).acquire());
    tokio::time::sleep(Duration::from_millis(200)).await;
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    waiter.await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused() {
    let server = RedisServer::start();
    let info: String = server.command(&["INFO", "server"]).await;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let (name, version, old) = match field("valkey_version:") {
        Some(version) => ("valkey_version", version, "7.1."),
        None => ("redis_version", field("redis_version:").unwrap(), "6.0."),
    };
    // As long as the true version: the length of the answer stays the same.
    let all_of_old = format!("{old}{}", "9".repeat(version.len() - 4));
    let url = edited(server.port(), &format!("{name}:{version}"), &format!("{name}:{all_of_old}")).await;
    let text = refusal(&url).await;
    assert!(text.contains(old) && text.contains("Redis 6.2") && text.contains("Valkey 7.2"), "{text}");
}

/// Each command that a lock needs to be taken and given back.
#[tokio::test]
async fn a_command_that_is_needed_and_forbidden_is_named_before_anything_is_taken() {
    for command in ["set", "get", "pttl", "eval", "evalsha", "pexpire", "del"] {
        let server = RedisServer::start();
        let others = own_releases(&server).await.into_iter();
        let rules = others.chain([command]).map(|command| format!("-{command}")).collect::<Vec<_>>();
        let user = ["ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all"].into_iter();
        server.command::<()>(&user.chain(rules.iter().map(String::as_str)).collect::<Vec<_>>()).await;
        let url = format!("redis://app:pw@127.0.0.1:{}/", server.port());
        if command == "pexpire" && renews_by_set(&server).await {
            works(&LockManager::connect(&url).await.unwrap()).await;
            continue;
        }
        for text in [refusal(&url).await, refusal_of_a_lock(&url).await] {
            assert!(text.contains(&command.to_uppercase()), "{text}");
            assert!(text.contains(&format!("`+{command}`")), "{text}");
        }
        assert!(server.keys().await.is_empty(), "{command}");
        // Nor by a call that asks in the wait queue first.
        let waits = lazy(&url).lock("order:42").wait(SOON).fenced().acquire().await.unwrap_err();
        assert!(matches!(waits, LockError::Config { .. }), "{waits}");
        assert!(server.keys().await.is_empty(), "{command}");
        // The check is made again once the rules have changed.
        let locks = lazy(&url);
        locks.lock("order:42").acquire().await.unwrap_err();
        server.command::<()>(&["ACL", "SETUSER", "app", "+@all"]).await;
        works(&locks).await;
    }
}

#[tokio::test]
async fn a_command_that_the_server_does_not_know_is_named() {
    let mut settings = vec!["--rename-command", "EVALSHA", "unknown"];
    for command in own_releases(&RedisServer::start()).await {
        settings.extend(["--rename-command", command, "unknown-too"]);
    }
    let server = RedisServer::start_with(&settings);
    let text = refusal(&server.url()).await;
    assert!(text.contains("EVALSHA"), "{text}");
}

/// Some servers have the commands, and refuse every script in words of their own.
#[tokio::test]
async fn a_server_that_runs_no_scripts_is_refused_unless_it_gives_back_without_them() {
    let server = RedisServer::start();
    let url = edited(server.port(), "-NOSCRIPT", "-DISABLED").await;
    if !own_releases(&server).await.is_empty() {
        return works(&LockManager::connect(&url).await.unwrap()).await;
    }
    let text = refusal(&url).await;
    assert!(text.contains("EVALSHA"), "{text}");
}

/// Some clouds refuse a script that publishes, whatever it would do. Here its text does not compile.
#[tokio::test]
async fn a_server_that_refuses_scripts_with_publish_takes_and_gives_back_locks() {
    let server = RedisServer::start();
    let url = edited(server.port(), "redis.pcall('PUBLISH'", "redis.pcall((((((((((").await;
    let locks = LockManager::connect(&url).await.unwrap();
    for _ in 0..2 {
        works(&locks).await;
        assert!(server.keys().await.is_empty());
    }
    let held = locks.lock("k").acquire().await.unwrap();
    let elsewhere = LockManager::connect(&url).await.unwrap();
    let waiter = tokio::spawn(elsewhere.lock("k").wait(SOON).acquire());
    tokio::time::sleep(Duration::from_millis(100)).await;
    held.renew().await.unwrap();
    held.release().await.unwrap();
    waiter.await.unwrap().unwrap().release().await.unwrap();
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn questions_that_the_server_forbids_are_no_errors() {
    let server = RedisServer::start();
    let rules = ["-info", "-config", "-role", "-hello", "-time", "-client"];
    for rule in rules {
        server.command::<()>(&["ACL", "SETUSER", "default", rule]).await;
    }
    works(&LockManager::connect(server.url()).await.unwrap()).await;
}

/// The key of the check is not among those that the user may touch, which proves nothing.
#[tokio::test]
async fn a_user_who_may_touch_few_keys_is_not_refused() {
    let server = RedisServer::start();
    server.command::<()>(&["ACL", "SETUSER", "app", "on", ">pw", "~lock:order:*", "&*", "+@all"]).await;
    works(&LockManager::connect(format!("redis://app:pw@127.0.0.1:{}/", server.port())).await.unwrap()).await;
}

#[tokio::test]
async fn the_check_leaves_nothing_and_changes_nothing() {
    let server = RedisServer::start();
    let before: String = server.command(&["INFO", "persistence"]).await;
    let changes = |info: &str| info.lines().find(|line| line.starts_with("rdb_changes")).map(str::to_owned);
    LockManager::connect(server.url()).await.unwrap();
    let after: String = server.command(&["INFO", "persistence"]).await;
    assert!(server.keys().await.is_empty());
    assert_eq!(changes(&before), changes(&after));
}

#[tokio::test]
async fn a_node_of_a_quorum_that_is_not_fit_for_locks_is_refused_and_named() {
    let servers = [(); 3].map(|()| RedisServer::start());
    for command in own_releases(&servers[1]).await.into_iter().chain(["evalsha"]) {
        servers[1].command::<()>(&["ACL", "SETUSER", "default", &format!("-{command}")]).await;
    }
    let hosts = servers.each_ref().map(|server| format!("127.0.0.1:{}", server.port()));
    let url = format!("redlock://{}", hosts.join(","));
    let error = LockManager::builder().url(&url).restart_delay(Duration::ZERO).connect().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, LockError::Config { .. }), "{text}");
    assert!(text.contains("EVALSHA") && text.contains(&hosts[1]), "{text}");
}

/// A failover may have put a replica behind the address.
#[tokio::test]
async fn a_new_connection_to_a_replica_is_found_out_before_a_command_is_sent() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    server.command::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    server.command::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    let sets = async || -> Option<String> {
        let stats: String = server.command(&["INFO", "commandstats"]).await;
        stats.lines().find(|line| line.starts_with("cmdstat_set:")).map(str::to_owned)
    };
    let before = sets().await;
    eventually(SOON, async || {
        let error = locks.lock("k").acquire().await.unwrap_err();
        error.to_string().contains("replica")
    })
    .await;
    assert_eq!(sets().await, before, "refused ones included");
}
