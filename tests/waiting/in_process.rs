//! Waiting is bounded, cheap, and first come, first served within a process.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use distlock::{LockError, LockManager, MemoryStore};
use test_support::{RedisServer, in_time};
use tokio::time::Instant;

fn rivals() -> (LockManager, LockManager) {
    let store = MemoryStore::new();
    let manager = || LockManager::builder().store(store.clone()).build().unwrap();
    (manager(), manager())
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn without_wait_there_is_one_attempt_and_no_sleep() {
    let (locks, rival) = rivals();
    let _held = rival.lock("k").ttl(SECOND * 20).acquire().await.unwrap();
    let start = Instant::now();
    let error = locks.lock("k").acquire().await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let LockError::Busy { key, waited, remaining } = error else { panic!("{error}") };
    assert_eq!((key.as_str(), waited, remaining), ("k", Duration::ZERO, Some(SECOND * 20)));
}

#[tokio::test]
async fn without_wait_it_costs_two_round_trips_at_the_most() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let rival = LockManager::connect(server.url()).await.unwrap();
    let guard = rival.lock("k").acquire().await.unwrap();
    let before = server.calls(&["set", "get", "pttl"]).await;
    assert!(locks.lock("k").try_acquire().await.unwrap().is_none());
    // SET, then GET and PTTL together.
    assert_eq!(server.calls(&["set", "get", "pttl"]).await - before, 3);
    guard.release().await.unwrap();
    let before = server.calls(&["set", "get", "pttl"]).await;
    let guard = locks.lock("k").acquire().await.unwrap();
    assert_eq!(server.calls(&["set", "get", "pttl"]).await - before, 1);
    drop(guard);
}

#[tokio::test(start_paused = true)]
async fn wait_is_bounded() {
    let (locks, rival) = rivals();
    let _held = rival.lock("k").acquire().await.unwrap();
    let start = Instant::now();
    let error = in_time(SECOND * 60, locks.lock("k").wait(SECOND * 3).acquire()).await.unwrap_err();
    assert_eq!(start.elapsed(), SECOND * 3);
    assert!(
        matches!(error, LockError::Busy { waited, remaining: Some(_), .. } if waited == SECOND * 3),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn those_further_back_in_the_line_are_bounded_too() {
    let (locks, rival) = rivals();
    let _held = rival.lock("k").ttl(SECOND * 20).acquire().await.unwrap();
    let head = tokio::spawn(locks.lock("k").wait_forever().acquire());
    tokio::time::sleep(SECOND).await;
    let start = Instant::now();
    let error = in_time(SECOND * 60, locks.lock("k").wait(SECOND).acquire()).await.unwrap_err();
    assert_eq!(start.elapsed(), SECOND);
    assert!(
        matches!(error, LockError::Busy { remaining: Some(_), .. }),
        "it knows what the head has seen: {error}"
    );
    head.abort();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gets_the_key_when_the_lease_lapses() {
    let (locks, rival) = rivals();
    let held = rival.lock("k").ttl(SECOND * 10).renew(false).acquire().await.unwrap();
    let start = Instant::now();
    let guard = in_time(SECOND * 60, locks.lock("k").wait_forever().acquire()).await.unwrap();
    assert!(start.elapsed() >= SECOND * 10 && start.elapsed() < SECOND * 11, "{:?}", start.elapsed());
    assert!(guard.is_held() && !held.is_held());
}

#[tokio::test(start_paused = true)]
async fn waiters_of_a_process_are_served_in_the_order_of_their_coming() {
    let locks = LockManager::in_memory();
    let held = locks.lock("k").acquire().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (request, order) = (locks.lock("k").wait_forever(), Arc::clone(&order));
        waiters.spawn(async move {
            let guard = request.acquire().await.unwrap();
            order.lock().unwrap().push(number);
            tokio::time::sleep(Duration::from_millis(5)).await;
            guard.release().await.unwrap();
        });
        tokio::task::yield_now().await;
    }
    held.release().await.unwrap();
    in_time(SECOND * 60, waiters.join_all()).await;
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_head_passes_its_turn_on() {
    let locks = LockManager::in_memory();
    let held = locks.lock("k").acquire().await.unwrap();
    let first = tokio::spawn(locks.lock("k").wait_forever().acquire());
    tokio::task::yield_now().await;
    let next = tokio::spawn(locks.lock("k").wait_forever().acquire());
    tokio::time::sleep(SECOND).await;
    first.abort();
    held.release().await.unwrap();
    assert!(in_time(SECOND, next).await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_does_not_overtake_who_does() {
    let (locks, rival) = rivals();
    let held = rival.lock("k").acquire().await.unwrap();
    let waiter = tokio::spawn(locks.lock("k").wait_forever().acquire());
    tokio::time::sleep(Duration::from_millis(1)).await;
    held.release().await.unwrap();
    // The key is free, and there is a line for it.
    assert!(locks.lock("k").try_acquire().await.unwrap().is_none());
    let guard = in_time(SECOND * 60, waiter).await.unwrap().unwrap();
    guard.release().await.unwrap();
    assert!(locks.lock("k").try_acquire().await.unwrap().is_some(), "the line is gone with its last waiter");
}

#[tokio::test]
async fn one_contender_talks_to_the_server_however_many_wait() {
    let server = RedisServer::start();
    let rival = LockManager::connect(server.url()).await.unwrap();
    let _held = rival.lock("k").acquire().await.unwrap();
    let count = async |waiters: usize| {
        let locks = LockManager::connect(server.url()).await.unwrap();
        let before = server.calls(&["set"]).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..waiters {
            tasks.spawn(locks.lock("k").wait(SECOND).acquire());
        }
        for result in in_time(SECOND * 20, tasks.join_all()).await {
            assert!(matches!(result, Err(LockError::Busy { .. })));
        }
        server.calls(&["set"]).await - before
    };
    let (one, many) = (count(1).await, count(500).await);
    assert!(many <= one * 2, "{many} commands for 500 waiters, {one} for one");
}

#[tokio::test]
async fn a_release_in_this_process_wakes_the_next_waiter() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let held = locks.lock("k").acquire().await.unwrap();
    let waiter = tokio::spawn(locks.lock("k").wait_forever().acquire());
    // By now the waiter sleeps as long as it ever does between two looks.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = server.calls(&["set"]).await;
    held.release().await.unwrap();
    let guard = in_time(SECOND * 5, waiter).await.unwrap().unwrap();
    assert_eq!(server.calls(&["set"]).await - before, 1, "woken, it asks once");
    drop(guard);
}
