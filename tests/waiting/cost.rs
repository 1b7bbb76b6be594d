//! What an acquisition and a waiter cost the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use distlock::{LockError, LockManager};
use test_support::{RedisServer, eventually, in_time};
use tokio::{task::JoinSet, time::sleep};

use crate::{SECOND, SOON, gets, manager, queue_has, scripts, wait_for};

#[tokio::test]
async fn without_wait_a_call_costs_at_most_two_round_trips() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let rival = LockManager::connect(server.url()).await.unwrap();
    let guard = rival.lock("k").acquire().await.unwrap();
    let before = server.calls(&["set", "get", "pttl"]).await;
    assert!(locks.lock("k").try_acquire().await.unwrap().is_none());
    // SET, then GET and PTTL together.
    assert_eq!(server.calls(&["set", "get", "pttl"]).await - before, 3);
    let before = server.calls(&["set", "get", "pttl"]).await;
    let free = locks.lock("free").acquire().await.unwrap();
    assert_eq!(server.calls(&["set", "get", "pttl"]).await - before, 1);
    drop((guard, free));
}

#[tokio::test]
async fn a_free_key_costs_no_command_of_hand_overs() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let hand_overs = async || server.calls(&["publish", "subscribe", "hello"]).await;
    let before = hand_overs().await;
    for _ in 0..10 {
        locks.lock("k").wait(SOON).acquire().await.unwrap().release().await.unwrap();
    }
    assert_eq!(hand_overs().await, before);
}

const TASKS: u64 = 8;

const EACH: u64 = 40;

/// Lets tasks of one process take the key `EACH` times each. Returns how many scripts that took.
async fn contend(fair: bool) -> u64 {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let inside = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (locks, inside) = (locks.clone(), Arc::clone(&inside));
        tasks.spawn(async move {
            for _ in 0..EACH {
                let guard = locks.lock("k").fair(fair).wait_forever().acquire().await.unwrap();
                assert!(!inside.swap(true, Ordering::SeqCst), "two holders");
                sleep(Duration::from_millis(1)).await;
                assert!(inside.swap(false, Ordering::SeqCst));
                guard.release().await.unwrap();
            }
        });
    }
    in_time(SOON * 4, tasks.join_all()).await;
    // A waiter of the same process needs no message, unless its own command is under way.
    let messages = server.calls(&["publish"]).await;
    assert!(messages <= TASKS * EACH / 10, "{messages} messages");
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
    scripts(&server).await
}

#[tokio::test]
async fn a_contended_acquisition_within_a_process_takes_one_command() {
    let scripts = contend(true).await;
    assert!(scripts <= TASKS * EACH * 12 / 10, "{scripts} scripts");
}

#[tokio::test]
async fn a_lease_that_is_handed_over_locally_takes_no_command() {
    let scripts = contend(false).await;
    assert!(scripts <= TASKS * EACH / 3, "{scripts} scripts");
}

/// Tasks of four processes that all want one key.
#[tokio::test]
async fn a_contended_acquisition_between_processes_takes_about_two_commands() {
    const EACH: u64 = 100;
    let server = RedisServer::start();
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let locks = manager(server.url()).await;
        for _ in 0..4 {
            let locks = locks.clone();
            tasks.spawn(async move {
                for _ in 0..EACH {
                    let guard = locks.lock("k").wait_forever().acquire().await.unwrap();
                    sleep(Duration::from_millis(1)).await;
                    guard.release().await.unwrap();
                }
            });
        }
    }
    in_time(SOON * 4, tasks.join_all()).await;
    // One script for each release, which hands the key over, and one for each claim. A few more for waiters
    // that join the queue, and for attempts in vain.
    let scripts = scripts(&server).await;
    assert!(scripts <= 16 * EACH * 2 * 115 / 100, "{scripts} scripts for {} acquisitions", 16 * EACH);
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn one_contender_asks_the_server_for_all_waiters_of_a_process() {
    let server = RedisServer::start();
    let rival = manager(server.url()).await;
    let _held = rival.lock("k").acquire().await.unwrap();
    let count = async |waiters: usize| {
        let locks = manager(server.url()).await;
        let before = server.calls(&["set"]).await;
        let mut tasks = JoinSet::new();
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
async fn ten_thousand_waiters_of_a_process_ask_about_once_a_second() {
    let server = RedisServer::start();
    let (holder, waiting) = (manager(server.url()).await, manager(server.url()).await);
    let _held = holder.lock("k").acquire().await.unwrap();
    let before = scripts(&server).await;
    let mut tasks = JoinSet::new();
    for _ in 0..10_000 {
        tasks.spawn(waiting.lock("k").wait_forever().acquire());
    }
    sleep(Duration::from_secs(3)).await;
    // The pauses are 64, 128, .. 1,200 ms, less up to 15 %.
    let attempts = scripts(&server).await - before;
    assert!((1..12).contains(&attempts), "{attempts} attempts in 3 s");
    tasks.shutdown().await;
}

#[tokio::test]
async fn a_thousand_waiters_that_give_up_one_by_one_ask_as_often_as_one() {
    let server = RedisServer::start();
    let (holder, waiting) = (manager(server.url()).await, manager(server.url()).await);
    let held = holder.lock("k").acquire().await.unwrap();
    let before = scripts(&server).await;
    let mut crowd = JoinSet::new();
    for number in 0..1000 {
        let wait = Duration::from_millis(500) + Duration::from_millis(number);
        crowd.spawn(waiting.lock("k").wait(wait).acquire());
    }
    let busy = crowd.join_all().await;
    assert!(busy.iter().all(|result| matches!(result, Err(LockError::Busy { .. }))));
    // The pauses are 64, 128, .. 1,200 ms, less up to 15 %. The last one leaves the queue with one command
    // more.
    let attempts = scripts(&server).await - before;
    assert!(attempts < 12, "{attempts} attempts in 1.5 s");
    queue_has(&server, 0).await;
    held.release().await.unwrap();
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn a_release_wakes_the_next_waiter_of_its_process() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let held = locks.lock("k").acquire().await.unwrap();
    let waiter = wait_for(locks.lock("k"));
    // The waiter now pauses between two attempts.
    sleep(Duration::from_millis(300)).await;
    let before = server.calls(&["set"]).await;
    held.release().await.unwrap();
    let guard = gets(waiter).await;
    assert_eq!(server.calls(&["set"]).await - before, 1, "the waiter asks once");
    drop(guard);
}
