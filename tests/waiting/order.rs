//! Waiters get the key in the order of their arrival.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use distlock::{LockError, LockManager};
use test_support::{RedisServer, in_time};
use tokio::time::sleep;

use crate::{SECOND, SOON, bounds::rivals, gets, manager, queue_has, wait_for, wait_in_queue};

/// Between arrivals whose order counts.
const LATER: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn waiters_of_a_process_get_the_key_in_the_order_of_arrival() {
    let locks = LockManager::in_memory();
    let held = locks.lock("k").acquire().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (request, order) = (locks.lock("k").wait_forever(), Arc::clone(&order));
        waiters.spawn(async move {
            let guard = request.acquire().await.unwrap();
            order.lock().unwrap().push(number);
            sleep(Duration::from_millis(5)).await;
            guard.release().await.unwrap();
        });
        tokio::task::yield_now().await;
    }
    held.release().await.unwrap();
    in_time(SECOND * 60, waiters.join_all()).await;
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn processes_get_the_key_in_the_order_of_arrival() {
    let server = RedisServer::start();
    let mut held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let mut waiters = Vec::new();
    for number in 1..=5 {
        waiters.push(wait_in_queue(&server, &manager(server.url()).await, number).await);
    }
    for waiter in waiters {
        held.release().await.unwrap();
        held = gets(waiter).await;
    }
}

#[tokio::test]
async fn waiters_of_all_processes_get_the_key_in_the_order_of_arrival() {
    let server = RedisServer::start();
    let processes = [manager(server.url()).await, manager(server.url()).await, manager(server.url()).await];
    let mut held = processes[0].lock("k").acquire().await.unwrap();
    let mut waiters = Vec::new();
    for process in [0, 0, 1, 0, 2, 1, 2, 0, 0, 1] {
        waiters.push(wait_for(processes[process].lock("k")));
        sleep(LATER).await;
    }
    for waiter in waiters {
        assert!(!waiter.is_finished());
        held.release().await.unwrap();
        held = gets(waiter).await;
    }
    held.release().await.unwrap();
    assert!(server.keys().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_contender_passes_its_turn_on() {
    let locks = LockManager::in_memory();
    let held = locks.lock("k").acquire().await.unwrap();
    let first = wait_for(locks.lock("k"));
    tokio::task::yield_now().await;
    let next = wait_for(locks.lock("k"));
    sleep(SECOND).await;
    first.abort();
    held.release().await.unwrap();
    assert!(in_time(SECOND, next).await.unwrap().is_held());
}

#[tokio::test]
async fn a_waiter_that_gives_up_leaves_its_place_to_the_next_of_its_process() {
    let server = RedisServer::start();
    let (holder, one, other) =
        (manager(server.url()).await, manager(server.url()).await, manager(server.url()).await);
    let held = holder.lock("k").acquire().await.unwrap();
    let gives_up = tokio::spawn(one.lock("k").wait(LATER * 4).acquire());
    queue_has(&server, 1).await;
    let second = wait_for(other.lock("k"));
    queue_has(&server, 2).await;
    let first = wait_for(one.lock("k"));
    assert!(matches!(in_time(SOON, gives_up).await.unwrap(), Err(LockError::Busy { .. })));
    held.release().await.unwrap();
    let held = gets(first).await;
    assert!(!second.is_finished());
    held.release().await.unwrap();
    gets(second).await.release().await.unwrap();
    assert!(server.keys().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_without_wait_does_not_overtake_waiters() {
    let (locks, rival) = rivals();
    let held = rival.lock("k").acquire().await.unwrap();
    let waiter = wait_for(locks.lock("k"));
    sleep(Duration::from_millis(1)).await;
    held.release().await.unwrap();
    // The key is free, and has a waiter.
    assert!(locks.lock("k").try_acquire().await.unwrap().is_none());
    let guard = in_time(SECOND * 60, waiter).await.unwrap();
    guard.release().await.unwrap();
    assert!(
        locks.lock("k").try_acquire().await.unwrap().is_some(),
        "the wait queue ends with its last waiter"
    );
}
