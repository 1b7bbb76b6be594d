//! What sentinels answer, and what they do not.

use distlock::{LockManager, StoreErrorKind};
use test_support::{RedisServer, Watched, eventually, free_port};

use crate::{SOON, refusal, works};

/// Lets a sentinel name a server, whatever the others think.
async fn watches(sentinel: &RedisServer, server: &RedisServer) {
    let port = server.port().to_string();
    sentinel.command::<()>(&["SENTINEL", "MONITOR", Watched::SERVICE, "127.0.0.1", &port, "2"]).await;
}

/// Starts sentinels that name these servers.
async fn sentinels_naming(servers: &[&RedisServer], settings: &[&str]) -> (Vec<RedisServer>, String) {
    let settings: Vec<_> = ["--sentinel"].into_iter().chain(settings.iter().copied()).collect();
    let (mut sentinels, mut hosts) = (Vec::new(), Vec::new());
    for server in servers {
        let sentinel = RedisServer::start_with(&settings);
        watches(&sentinel, server).await;
        hosts.push(format!("127.0.0.1:{}", sentinel.port()));
        sentinels.push(sentinel);
    }
    let url = format!("redis-sentinel://{}/{}", hosts.join(","), Watched::SERVICE);
    (sentinels, url)
}

#[tokio::test]
async fn the_server_that_most_sentinels_name_is_asked() {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let (_sentinels, url) = sentinels_naming(&[&other, &server, &server], &[]).await;
    let locks = LockManager::connect(&url).await.unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    assert!(server.has("lock:k").await && !other.has("lock:k").await);
    guard.release().await.unwrap();
}

#[tokio::test]
async fn sentinels_that_are_silent_do_not_hold_a_call_up() {
    let server = RedisServer::start();
    let (mut sentinels, url) = sentinels_naming(&[&server, &server, &server], &[]).await;
    sentinels[0].pause();
    sentinels[1].stop();
    works(&LockManager::connect(&url).await.unwrap()).await;
    sentinels[0].resume();
}

/// The replica would take the lock: it accepts writes.
#[tokio::test]
async fn a_replica_grants_nothing_whoever_names_it() {
    let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port, "--replica-read-only", "no"]);
    eventually(SOON, async || primary.replicas().await == 1).await;
    let (_sentinels, url) = sentinels_naming(&[&replica], &[]).await;
    let (kind, text) = refusal(&url).await;
    assert_eq!(kind, Some(StoreErrorKind::ReadOnly), "{text}");
    assert!(replica.keys().await.is_empty());
    // A waiter that asks in the wait queue first is refused as well, until the replica is promoted.
    let locks = LockManager::builder().url(&url).build().unwrap();
    let waiter = tokio::spawn(locks.lock("k").wait(SOON).fenced().acquire());
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(replica.keys().await.is_empty());
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    waiter.await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn sentinels_have_credentials_of_their_own() {
    let server = RedisServer::start_with(&["--user", "app", "on", ">of-app", "~*", "&*", "+@all"]);
    let (_sentinels, url) = sentinels_naming(&[&server], &[]).await;
    let of_server = url.replace("://", "://app:of-app@");
    works(&LockManager::connect(&of_server).await.unwrap()).await;
    let asks = RedisServer::start_sentinel();
    watches(&asks, &server).await;
    let rule = ["ACL", "SETUSER", "finder", "on", ">of-finder", "&*", "+@all"];
    asks.command::<()>(&rule).await;
    asks.command::<()>(&["ACL", "SETUSER", "default", "off"]).await;
    let url = format!("redis-sentinel://app:of-app@127.0.0.1:{}/orders", asks.port());
    let (kind, text) = refusal(&url).await;
    assert_eq!(kind, Some(StoreErrorKind::Refused), "{text}");
    assert!(text.contains("sentinel_user") && !text.contains("of-app"), "{text}");
    works(
        &LockManager::connect(format!("{url}?sentinel_user=finder&sentinel_pass=of-finder")).await.unwrap(),
    )
    .await;
}

#[tokio::test]
async fn a_service_that_is_not_watched_is_named() {
    let (_sentinels, url) = sentinels_naming(&[&RedisServer::start()], &[]).await;
    let (kind, text) = refusal(&url.replace("/orders", "/other")).await;
    assert_eq!(kind, None, "{text}");
    assert!(text.contains("`other`") && text.contains("SENTINEL MASTERS"), "{text}");
}

#[tokio::test]
async fn what_is_not_a_sentinel_is_told_apart() {
    let server = RedisServer::start();
    let (kind, text) = refusal(&format!("redis-sentinel://127.0.0.1:{}/orders", server.port())).await;
    assert_eq!(kind, None, "{text}");
    assert!(text.contains("not a sentinel") && text.contains("26379"), "{text}");
    let (kind, text) = refusal(&format!("redis-sentinel://127.0.0.1:{}/orders", free_port())).await;
    assert_eq!(kind, Some(StoreErrorKind::Unreachable), "{text}");
    assert!(text.contains("no sentinel names the primary of `orders`"), "{text}");
}

#[test]
fn a_url_that_names_no_service_or_a_sentinel_twice_is_refused() {
    let reason = |url: &str| LockManager::builder().url(url).build().unwrap_err().to_string();
    for url in ["redis-sentinel://a,b,c", "redis-sentinel://a/", "redis-sentinel://a/orders/2"] {
        assert!(reason(url).contains("redis-sentinel://host[:port],host[:port],../service"), "{url}");
    }
    assert!(reason("redis-sentinel://a,a:26379/orders").contains("named twice"));
    assert!(reason("redis-sentinel://a/orders?sentinel_tls=maybe").contains("sentinel_tls=yes"));
    assert!(reason("redis-sentinel://a/orders?restart_delay=3").contains("means nothing"));
    for parameter in ["sentinel_user=a", "sentinel_pass=a", "sentinel_tls=yes"] {
        assert!(reason(&format!("redis://a/?{parameter}")).contains("means nothing"), "{parameter}");
    }
}
