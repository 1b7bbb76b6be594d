//! A break ends the lease of the holder that was seen, and the first waiter gets the key.

use std::time::Duration;

use distlock::{LockManager, LostReason, MemoryStore};
use test_support::{RedisServer, in_time};
use tokio::time::sleep;

use crate::{SOON, gets, manager, queue_length, wait_for, wait_in_queue};

/// The holder renews after a third of it.
const TTL: Duration = Duration::from_secs(1);

#[tokio::test]
async fn the_first_waiter_gets_a_broken_lock_and_its_holder_is_lost() {
    let server = RedisServer::start();
    let (one, two, three) =
        (manager(server.url()).await, manager(server.url()).await, manager(server.url()).await);
    let hangs = one.lock("k").ttl(TTL).acquire().await.unwrap();
    let first = wait_in_queue(&server, &two, 1).await;
    let second = wait_in_queue(&server, &three, 2).await;
    let seen = three.inspect("k").await.unwrap().unwrap();
    assert_eq!(seen.waiters, Some(2));
    let told = server.calls(&["publish"]).await;
    assert!(three.break_lock(&seen).await.unwrap());
    assert_eq!(server.calls(&["publish"]).await, told + 1, "it was not handed over");
    let successor = gets(first).await;
    assert_eq!(in_time(SOON, hangs.lost()).await, LostReason::NotOwner);
    assert!(successor.is_held() && !second.is_finished());
    drop(hangs);
    successor.release().await.unwrap();
    assert!(gets(second).await.is_held());
}

#[tokio::test]
async fn a_holder_that_came_since_is_never_broken() {
    let server = RedisServer::start();
    for locks in [manager(server.url()).await, LockManager::in_memory()] {
        let guard = locks.lock("k").ttl(TTL).acquire().await.unwrap();
        let seen = locks.inspect("k").await.unwrap().unwrap();
        guard.release().await.unwrap();
        assert!(!locks.break_lock(&seen).await.unwrap(), "the key is free");
        // The same process, with the same label.
        let guard = locks.lock("k").ttl(TTL).acquire().await.unwrap();
        assert!(!locks.break_lock(&seen).await.unwrap());
        sleep(TTL * 2).await;
        assert!(guard.is_held());
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_break_frees_a_key_that_nobody_waits_for() {
    let server = RedisServer::start();
    for locks in [manager(server.url()).await, LockManager::in_memory()] {
        let hangs = locks.lock("k").ttl(TTL).acquire().await.unwrap();
        let seen = locks.inspect("k").await.unwrap().unwrap();
        assert!(locks.break_lock(&seen).await.unwrap());
        let successor = locks.lock("k").try_acquire().await.unwrap();
        assert_eq!(in_time(SOON, hangs.lost()).await, LostReason::NotOwner);
        // What the lost one sends does not touch its successor.
        drop(hangs);
        sleep(TTL).await;
        assert!(successor.is_some_and(|successor| successor.is_held()));
    }
    assert_eq!(queue_length(&server).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_break_in_memory_wakes_the_waiter() {
    let store = MemoryStore::new();
    let manager = || LockManager::builder().store(store.clone()).build().unwrap();
    let (one, two) = (manager(), manager());
    let hangs = one.lock("k").ttl(TTL).acquire().await.unwrap();
    let waiter = wait_for(two.lock("k"));
    sleep(TTL / 10).await;
    let seen = two.inspect("k").await.unwrap().unwrap();
    assert!(two.break_lock(&seen).await.unwrap());
    assert!(gets(waiter).await.is_held());
    assert_eq!(in_time(SOON, hangs.lost()).await, LostReason::NotOwner);
}

#[tokio::test]
async fn a_lock_of_another_library_can_be_broken() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    server.command::<()>(&["SET", "lock:k", "7d3c6ee4-5f3f-4d2c-9d0e-000000000000"]).await;
    let waiter = wait_in_queue(&server, &locks, 1).await;
    let seen = locks.inspect("k").await.unwrap().unwrap();
    assert_eq!((seen.label.as_deref(), seen.remaining), (None, None));
    assert!(locks.break_lock(&seen).await.unwrap());
    assert!(gets(waiter).await.is_held());
}
