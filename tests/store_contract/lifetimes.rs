//! Every key that distlock leaves on a server lapses by itself, whatever dies.

use std::time::Duration;

use distlock::{
    Acquired, FencingToken, Key, LockError, LockGuard, LockManager, LockRequest, OwnerToken, RedisStore,
    Store,
};
use test_support::{RedisServer, eventually, in_time};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

async fn manager(server: &RedisServer) -> LockManager {
    LockManager::connect(server.url()).await.unwrap()
}

fn wait_for(request: LockRequest) -> JoinHandle<LockGuard> {
    tokio::spawn(async { request.wait_forever().acquire().await.unwrap() })
}

async fn gets(waiter: JoinHandle<LockGuard>) -> LockGuard {
    in_time(SOON, waiter).await.unwrap()
}

/// Checks that each key has a ttl, at several moments: a later command may give one to a key that had none.
async fn all_keys_lapse(server: &RedisServer) {
    const EVERLASTING: &str = "local found = {} for _, key in ipairs(redis.call('KEYS', '*')) do \
         if redis.call('PTTL', key) < 0 then table.insert(found, key) end end return found";
    for _ in 0..20 {
        assert_eq!(server.command::<Vec<String>>(&["EVAL", EVERLASTING, "0"]).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_wait_queue_lapses() {
    let server = RedisServer::start();
    let held = manager(&server).await.lock("k").acquire().await.unwrap();
    let first = wait_for(manager(&server).await.lock("k"));
    eventually(SOON, || async { server.wait_queue_of("lock:k").await.is_some() }).await;
    all_keys_lapse(&server).await;
    let second = wait_for(manager(&server).await.lock("k"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    all_keys_lapse(&server).await;
    // The queue is written again without its first waiter.
    held.release().await.unwrap();
    let first = gets(first).await;
    all_keys_lapse(&server).await;
    // A waiter that gives up leaves it.
    let third = wait_for(manager(&server).await.lock("k"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    third.abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    all_keys_lapse(&server).await;
    first.release().await.unwrap();
    let second = gets(second).await;
    all_keys_lapse(&server).await;
    second.release().await.unwrap();
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
}

/// Checks that the counter lasts for about this long, and makes it last for ever, so that the next way to
/// draw a token has to set its ttl again.
async fn counter_lasts(server: &RedisServer, lifetime: Duration) {
    all_keys_lapse(server).await;
    let counter = server.fencing_counter_of("lock:k").await.expect("a fencing counter");
    let left = Duration::from_millis(server.command(&["PTTL", &counter]).await);
    assert!(left <= lifetime && left + MINUTE > lifetime, "{left:?}");
    server.command::<()>(&["PERSIST", &counter]).await;
}

/// The counter outlives the lease, so that tokens rise even if the clock steps back meanwhile.
#[tokio::test]
async fn a_fencing_counter_lasts_for_its_lifetime_whichever_way_the_token_was_drawn() {
    for (set, lifetime) in [(None, DAY * 2), (Some(DAY * 10), DAY * 10)] {
        let server = RedisServer::start();
        let manager = async || {
            let builder = LockManager::builder().url(server.url());
            let builder = if let Some(lifetime) = set { builder.fence_lifetime(lifetime) } else { builder };
            builder.connect().await.unwrap()
        };
        let (locks, elsewhere) = (manager().await, manager().await);
        let mut held = locks.lock("k").fenced().acquire().await.unwrap();
        counter_lasts(&server, lifetime).await;
        for waiting in [&elsewhere, &locks] {
            let waiter = wait_for(waiting.lock("k").fenced());
            eventually(SOON, || async { server.wait_queue_of("lock:k").await.is_some() }).await;
            held.release().await.unwrap();
            held = gets(waiter).await;
            counter_lasts(&server, lifetime).await;
        }
        held.release().await.unwrap();
        // A waiter that finds the key free.
        server.command::<()>(&["SET", "lock:k", "theirs", "PX", "600000"]).await;
        let waiter = wait_for(elsewhere.lock("k").fenced());
        eventually(SOON, || async { server.wait_queue_of("lock:k").await.is_some() }).await;
        server.command::<u8>(&["DEL", "lock:k"]).await;
        let guard = gets(waiter).await;
        counter_lasts(&server, lifetime).await;
        guard.release().await.unwrap();
    }
}

/// The node of a quorum sets its counter when it grants, raises its counter, or takes a key again.
#[tokio::test]
async fn a_fencing_counter_of_a_node_lasts_for_its_lifetime() {
    let server = RedisServer::start();
    let (store, key) = (RedisStore::open(&server.url()).unwrap(), Key::new("lock", "k").unwrap());
    let (owner, ahead) = (OwnerToken::random(), FencingToken::new(1 << 52));
    let answer = store.acquire_proposed(&key, &owner, MINUTE, ahead).await.unwrap();
    assert!(matches!(answer, Acquired::Granted { .. }), "{answer:?}");
    counter_lasts(&server, DAY * 2).await;
    assert!(store.raise_fence(&key, &owner, ahead).await.unwrap());
    counter_lasts(&server, DAY * 2).await;
    server.command::<u8>(&["DEL", "lock:k"]).await;
    assert!(store.take_again(&key, &owner, MINUTE, Some(ahead)).await.unwrap());
    counter_lasts(&server, DAY * 2).await;
}

#[test]
fn a_lifetime_of_less_than_a_day_is_refused() {
    for lifetime in [Duration::ZERO, DAY / 2, Duration::MAX] {
        let error = LockManager::builder().url("memory://").fence_lifetime(lifetime).build().unwrap_err();
        assert!(
            matches!(&error, LockError::Config { reason, .. } if reason.contains("fence_lifetime")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_fencing_counter_that_a_quorum_raises_lasts_for_its_lifetime() {
    let servers: [RedisServer; 3] = std::array::from_fn(|_| RedisServer::start());
    let hosts: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    let url = format!("redlock://{}", hosts.join(","));
    let locks = LockManager::builder().url(url).restart_delay(Duration::ZERO).fence_lifetime(DAY * 10);
    let locks = locks.connect().await.unwrap();
    locks.lock("k").fenced().acquire().await.unwrap().release().await.unwrap();
    for (server, ahead) in servers.iter().zip(0_u64..) {
        eventually(SOON, || async { server.fencing_counter_of("lock:k").await.is_some() }).await;
        let counter = server.fencing_counter_of("lock:k").await.unwrap();
        // All differ, so that a majority has to raise its counters.
        let number = (1_u64 << 52) + ahead * 1000;
        server.command::<()>(&["SET", &counter, &number.to_string(), "PX", "600000"]).await;
    }
    let guard = locks.lock("k").fenced().acquire().await.unwrap();
    let token = guard.fencing_token().unwrap().to_string();
    let mut raised = 0;
    for server in &servers {
        let counter = server.fencing_counter_of("lock:k").await.unwrap();
        if server.command::<String>(&["GET", &counter]).await == token {
            raised += 1;
            counter_lasts(server, DAY * 10).await;
        }
    }
    assert!(raised >= 2, "{raised} nodes have the token");
}
