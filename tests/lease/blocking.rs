//! A thread without a runtime acquires a lock, and holds it like a task.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::Duration,
};

use distlock::{LockError, LockManager};
use test_support::{RedisServer, eventually};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::SOON;

/// Checks that a thread locks, excludes, and releases by a drop.
fn locks_and_releases(locks: &LockManager) {
    let guard = locks.lock("order:42").blocking_acquire().unwrap();
    assert!(guard.is_held());
    assert!(matches!(locks.lock("order:42").blocking_acquire(), Err(LockError::Busy { .. })));
    drop(guard);
    drop(locks.lock("order:42").wait(SOON).blocking_acquire().unwrap());
}

#[test]
fn a_program_without_a_runtime_locks() {
    let server = RedisServer::start();
    locks_and_releases(&LockManager::builder().url(server.url()).build().unwrap());
    locks_and_releases(&LockManager::in_memory());
}

#[test]
fn a_blocking_lease_is_renewed() {
    let server = RedisServer::start();
    let ttl = Duration::from_millis(500);
    let locks = LockManager::builder().url(server.url()).ttl(ttl).build().unwrap();
    let guard = locks.lock("order:42").blocking_acquire().unwrap();
    thread::sleep(3 * ttl);
    assert!(guard.is_held());
    assert!(matches!(locks.lock("order:42").blocking_acquire(), Err(LockError::Busy { .. })));
}

#[test]
fn a_manager_outlives_the_runtime_that_it_was_made_on() {
    let server = RedisServer::start();
    for runtime in [Runtime::new(), Builder::new_current_thread().enable_all().build()] {
        let runtime = runtime.unwrap();
        let locks = runtime.block_on(LockManager::connect(server.url())).unwrap();
        drop(runtime);
        locks_and_releases(&locks);
    }
}

/// A runtime that nobody drives would never acquire the lock.
#[test]
fn a_blocking_acquire_does_not_wait_for_a_runtime_that_stands_still() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let locks = runtime.block_on(async { LockManager::in_memory() });
    let (send, done) = mpsc::channel();
    thread::spawn(move || {
        locks_and_releases(&locks);
        send.send(()).unwrap();
    });
    done.recv_timeout(SOON).unwrap();
}

#[tokio::test]
async fn a_guard_moves_into_spawn_blocking() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let guard = locks.lock("report:7").acquire().await.unwrap();
    tokio::task::spawn_blocking(move || assert!(guard.is_held())).await.unwrap();
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
    tokio::task::spawn_blocking(move || locks_and_releases(&locks)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_acquire_runs_on_the_runtime_of_the_builder() {
    let other = Runtime::new().unwrap();
    let locks = LockManager::builder().url("memory://").runtime(other.handle().clone()).build().unwrap();
    let tasks = |runtime: &Handle| runtime.metrics().num_alive_tasks();
    let here = tasks(&Handle::current());
    let guard = thread::spawn(move || locks.lock("order:42").blocking_acquire()).join().unwrap().unwrap();
    assert!(tasks(other.handle()) > 0 && tasks(&Handle::current()) == here);
    drop(guard);
    other.shutdown_background();
}

#[tokio::test]
async fn a_blocking_acquire_runs_on_the_runtime_on_which_the_manager_was_made() {
    let locks = LockManager::in_memory();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let guard = tokio::task::spawn_blocking(move || locks.lock("order:42").blocking_acquire());
    let guard = guard.await.unwrap().unwrap();
    // The keeper of the lease.
    assert!(tasks() > before);
    drop(guard);
}

#[tokio::test]
async fn a_blocking_acquire_in_a_task_panics_and_sends_nothing() {
    let server = RedisServer::start();
    let locks = LockManager::builder().url(server.url()).build().unwrap();
    let request = locks.lock("order:42");
    let panic = catch_unwind(AssertUnwindSafe(|| request.blocking_acquire())).unwrap_err();
    let message = panic.downcast::<String>().map(|text| *text);
    let message = message.unwrap_or_else(|text| (*text.downcast::<&str>().unwrap()).to_owned());
    assert!(message.contains("block"), "{message}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.calls(&["set"]).await, 0);
}
