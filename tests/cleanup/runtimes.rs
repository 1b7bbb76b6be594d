//! One manager works on every runtime, and nothing outlives a runtime but the ttl.

use std::{sync::mpsc, time::Duration};

use distlock::{LockError, LockManager, LostReason, StoreErrorKind};
use test_support::RedisServer;
use tokio::runtime::{Builder, Runtime};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Takes a lock for long enough to need renewals, and finds it free before and after.
async fn use_it(locks: &LockManager, key: &str) {
    for _ in 0..2 {
        let ttl = Duration::from_millis(150);
        locks.lock(key).ttl(ttl).run(tokio::time::sleep(ttl * 2)).await.unwrap();
    }
}

#[test]
fn one_runtime_after_the_other() {
    let server = RedisServer::start();
    let locks = current_thread().block_on(LockManager::connect(server.url())).unwrap();
    current_thread().block_on(use_it(&locks, "a"));
    multi_thread().block_on(use_it(&locks, "a"));
    current_thread().block_on(use_it(&locks, "a"));
    assert_eq!(current_thread().block_on(server.keys()), [""; 0]);
}

#[test]
fn two_runtimes_at_once_of_which_one_stands_still() {
    let server = RedisServer::start();
    let (still, runs) = (current_thread(), multi_thread());
    let locks = still.block_on(LockManager::connect(server.url())).unwrap();
    still.block_on(use_it(&locks, "a"));
    // Nobody drives `still` now, and nothing that `runs` needs may live there.
    runs.block_on(use_it(&locks, "a"));
    drop(still);
    runs.block_on(use_it(&locks, "a"));
}

#[test]
fn both_contend_for_one_key() {
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
fn a_lease_whose_runtime_is_gone_is_lost_and_released_elsewhere() {
    let server = RedisServer::start();
    let gone = multi_thread();
    let (locks, guard) = gone.block_on(async {
        let locks = LockManager::connect(server.url()).await.unwrap();
        let guard = locks.lock("a").acquire().await.unwrap();
        (locks, guard)
    });
    drop(gone);
    assert!(!guard.is_held());
    let runtime = current_thread();
    runtime.block_on(async {
        assert_eq!(guard.lost().await, LostReason::Shutdown);
        drop(guard);
        test_support::eventually(Duration::from_secs(5), || async { !server.has("lock:a").await }).await;
    });
    assert_eq!(locks.failed_releases(), 0);
}

#[test]
fn a_guard_that_outlives_every_runtime_is_counted() {
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
fn without_a_runtime_there_is_an_error_and_no_panic() {
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
fn a_manager_of_nobody_ends_its_tasks() {
    let runtime = current_thread();
    runtime.block_on(async {
        let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        for _ in 0..10 {
            let locks = LockManager::in_memory();
            locks.lock("a").run(async {}).await.unwrap();
            drop(locks.lock("b").acquire().await.unwrap());
        }
        test_support::eventually(Duration::from_secs(5), || async {
            tokio::runtime::Handle::current().metrics().num_alive_tasks() == before
        })
        .await;
    });
}

// A manager's own end.

#[tokio::test]
async fn shutdown_releases_what_is_held_and_refuses_what_comes() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let guard = locks.lock("guard").acquire().await.unwrap();
    let (entered, inside) = mpsc::channel();
    let body = tokio::spawn({
        let request = locks.lock("body");
        request.run(async move {
            entered.send(()).unwrap();
            std::future::pending::<()>().await;
        })
    });
    while inside.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    let waiter = tokio::spawn(locks.lock("guard").wait_forever().acquire());
    locks.shutdown().await;
    assert_eq!(server.keys().await, [""; 0], "released when it returns");
    assert!(matches!(body.await.unwrap(), Err(LockError::Lost { reason: LostReason::Shutdown, .. })));
    assert!(!guard.is_held());
    for refused in [waiter.await.unwrap(), locks.lock("new").acquire().await] {
        let Err(LockError::Store { source, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(source.kind(), StoreErrorKind::ShutDown);
    }
    drop(guard);
    assert_eq!(locks.failed_releases(), 0);
}

#[test]
fn a_guard_whose_runtime_stands_still_is_released_where_it_is_dropped() {
    let server = RedisServer::start();
    let (still, runs) = (current_thread(), current_thread());
    let locks = still.block_on(LockManager::connect(server.url())).unwrap();
    let guard = still.block_on(locks.lock("a").acquire()).unwrap();
    runs.block_on(async {
        drop(guard);
        test_support::eventually(Duration::from_secs(5), || async { !server.has("lock:a").await }).await;
    });
    drop(still);
}
