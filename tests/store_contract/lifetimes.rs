//! Every key that distlock leaves on a server lapses by itself, whatever dies.

use std::time::Duration;

use distlock::{LockGuard, LockManager, LockRequest};
use test_support::{RedisServer, eventually, in_time};
use tokio::task::JoinHandle;

const SOON: Duration = Duration::from_secs(5);
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

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

/// The counter outlives the lease, by two days unless set otherwise, so that tokens rise even if the clock
/// steps back meanwhile.
async fn counter_lapses(server: &RedisServer) {
    all_keys_lapse(server).await;
    let counter = server.fencing_counter_of("lock:k").await.expect("a fencing counter");
    let left = Duration::from_millis(server.command(&["PTTL", &counter]).await);
    assert!((A_DAY..A_DAY * 3).contains(&left), "{left:?}");
    // So that the next way has to set it again.
    server.command::<()>(&["PERSIST", &counter]).await;
}

#[tokio::test]
async fn a_fencing_counter_lapses_whichever_way_the_token_was_drawn() {
    let server = RedisServer::start();
    let (locks, elsewhere) = (manager(&server).await, manager(&server).await);
    let mut held = locks.lock("k").fenced().acquire().await.unwrap();
    counter_lapses(&server).await;
    for waiting in [&elsewhere, &locks] {
        let waiter = wait_for(waiting.lock("k").fenced());
        eventually(SOON, || async { server.wait_queue_of("lock:k").await.is_some() }).await;
        held.release().await.unwrap();
        held = gets(waiter).await;
        counter_lapses(&server).await;
    }
    held.release().await.unwrap();
    // A waiter that finds the key free.
    server.command::<()>(&["SET", "lock:k", "theirs", "PX", "600000"]).await;
    let waiter = wait_for(elsewhere.lock("k").fenced());
    eventually(SOON, || async { server.wait_queue_of("lock:k").await.is_some() }).await;
    server.command::<u8>(&["DEL", "lock:k"]).await;
    let guard = gets(waiter).await;
    counter_lapses(&server).await;
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_fencing_counter_that_a_quorum_raises_lapses() {
    let servers: [RedisServer; 3] = std::array::from_fn(|_| RedisServer::start());
    let hosts: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    let url = format!("redlock://{}", hosts.join(","));
    let locks = LockManager::builder().url(url).restart_delay(Duration::ZERO).connect().await.unwrap();
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
        all_keys_lapse(server).await;
        let counter = server.fencing_counter_of("lock:k").await.unwrap();
        raised += usize::from(server.command::<String>(&["GET", &counter]).await == token);
    }
    assert!(raised >= 2, "{raised} nodes have the token");
}
