//! One manager works on every runtime, and a runtime that ends leaves nothing on the server.

use std::time::Duration;

use distlock::{Key, LockError, LockManager, LostReason, Store};
use test_support::{RedisServer, eventually};
use tokio::runtime::{Builder, Runtime};

use crate::{
    SOON,
    faulty_store::{Fault, FaultyStore},
};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Takes a free lock twice, each time for long enough to need renewals.
async fn hold_for_two_ttls(locks: &LockManager, key: &str) {
    for _ in 0..2 {
        // Long enough for a thread that gets no time for a while.
        let ttl = Duration::from_millis(500);
        locks.lock(key).ttl(ttl).run(tokio::time::sleep(ttl * 2)).await.unwrap();
    }
}

#[test]
fn a_manager_works_on_one_runtime_after_another() {
    let server = RedisServer::start();
    let locks = current_thread().block_on(LockManager::connect(server.url())).unwrap();
    current_thread().block_on(hold_for_two_ttls(&locks, "a"));
    multi_thread().block_on(hold_for_two_ttls(&locks, "a"));
    current_thread().block_on(hold_for_two_ttls(&locks, "a"));
    assert_eq!(current_thread().block_on(server.keys()), [""; 0]);
}

#[test]
fn a_runtime_that_is_not_driven_does_not_stop_another() {
    let server = RedisServer::start();
    let (idle, driven) = (current_thread(), multi_thread());
    let locks = idle.block_on(LockManager::connect(server.url())).unwrap();
    idle.block_on(hold_for_two_ttls(&locks, "a"));
    // `idle` is not driven now: nothing that `driven` needs may live there.
    driven.block_on(hold_for_two_ttls(&locks, "a"));
    drop(idle);
    driven.block_on(hold_for_two_ttls(&locks, "a"));
}

#[test]
fn two_runtimes_take_turns_on_one_key() {
    let server = RedisServer::start();
    let locks = multi_thread().block_on(LockManager::connect(server.url())).unwrap();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let locks = locks.clone();
            std::thread::spawn(move || {
                current_thread().block_on(async {
                    for _ in 0..20 {
                        let wait = Duration::from_secs(20);
                        locks.lock("a").wait(wait).run(tokio::task::yield_now()).await.unwrap();
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_lease_whose_runtime_has_ended_is_lost_and_released_on_another() {
    let server = RedisServer::start();
    let ended = multi_thread();
    let (locks, guard) = ended.block_on(async {
        let locks = LockManager::connect(server.url()).await.unwrap();
        let guard = locks.lock("a").acquire().await.unwrap();
        (locks, guard)
    });
    drop(ended);
    assert!(!guard.is_held());
    let runtime = current_thread();
    runtime.block_on(async {
        assert_eq!(guard.lost().await, LostReason::Shutdown);
        drop(guard);
        eventually(SOON, || async { !server.has("lock:a").await }).await;
    });
    assert_eq!(locks.failed_releases(), 0);
}

#[test]
fn a_guard_dropped_after_the_last_runtime_counts_as_a_failed_release() {
    let server = RedisServer::start();
    let runtime = current_thread();
    let (locks, guard) = runtime.block_on(async {
        let locks = LockManager::connect(server.url()).await.unwrap();
        let guard = locks.lock("a").acquire().await.unwrap();
        (locks, guard)
    });
    drop(runtime);
    drop(guard);
    assert_eq!(locks.failed_releases(), 1);
}

#[test]
fn a_guard_whose_runtime_is_not_driven_is_released_where_it_is_dropped() {
    let server = RedisServer::start();
    let (idle, driven) = (current_thread(), current_thread());
    let locks = idle.block_on(LockManager::connect(server.url())).unwrap();
    let guard = idle.block_on(locks.lock("a").acquire()).unwrap();
    driven.block_on(async {
        drop(guard);
        eventually(SOON, || async { !server.has("lock:a").await }).await;
    });
    drop(idle);
}

#[test]
fn outside_a_runtime_a_call_fails_without_a_panic() {
    let locks = LockManager::in_memory();
    let mut call = std::pin::pin!(locks.lock("a").acquire());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = call.as_mut().poll(&mut context) else {
        panic!("an error at once")
    };
    assert!(matches!(&error, LockError::Config { key, .. } if key == "a"), "{error}");
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}

#[test]
fn a_shutdown_waits_for_the_releases_of_other_runtimes() {
    let store = FaultyStore::default();
    let locks = LockManager::builder().store(store.clone()).build().unwrap();
    let (mine, other) = (current_thread(), multi_thread());
    store.set_fault(Some(Fault::SlowRelease(Duration::from_millis(300))));
    let guard = other.block_on(locks.lock("k").acquire()).unwrap();
    other.block_on(async { drop(guard) });
    mine.block_on(locks.shutdown());
    let key = Key::new("lock", "k").unwrap();
    assert_eq!(mine.block_on(store.inspect(&key)).unwrap(), None, "the key is free when the call returns");
}

#[test]
fn a_shutdown_waits_for_other_runtimes_as_long_as_a_server_has_to_answer() {
    let (slow, second) = (Duration::from_millis(1500), Duration::from_secs(1));
    for (response_timeout, is_long) in [(second * 5, true), (second / 10, false)] {
        let store = FaultyStore::default();
        let locks = LockManager::builder().store(store.clone()).response_timeout(response_timeout);
        let locks = locks.build().unwrap();
        let (mine, other) = (current_thread(), multi_thread());
        store.set_fault(Some(Fault::SlowRelease(slow)));
        let guard = other.block_on(locks.lock("k").acquire()).unwrap();
        other.block_on(async { drop(guard) });
        let start = std::time::Instant::now();
        mine.block_on(locks.shutdown());
        assert_eq!(start.elapsed() > second, is_long, "{:?}", start.elapsed());
        let key = Key::new("lock", "k").unwrap();
        let holder = mine.block_on(store.inspect(&key)).unwrap();
        assert_eq!(holder.is_none(), is_long, "{holder:?}");
    }
}

#[test]
fn a_shutdown_does_not_wait_for_a_runtime_that_stands_still() {
    let locks = LockManager::in_memory();
    let (mine, still) = (current_thread(), current_thread());
    let guard = still.block_on(locks.lock("k").acquire()).unwrap();
    drop(guard);
    let start = std::time::Instant::now();
    mine.block_on(locks.shutdown());
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}
