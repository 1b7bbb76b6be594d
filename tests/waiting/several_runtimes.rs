//! The runtimes of one process queue on the server as processes do, and none of them waits for another.

use std::{
    thread::JoinHandle,
    time::{Duration, Instant},
};

use distlock::{LockError, LockGuard, LockManager};
use test_support::RedisServer;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use crate::{SECOND, queue_has};

/// A hand-over to a live waiter, with a wide margin. A waiter that does not claim its hand-over costs two
/// seconds.
const AT_ONCE: Duration = Duration::from_millis(400);

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits for the key `k` in a thread and runtime of its own, and tells when it was granted.
fn wait_elsewhere(locks: &LockManager, wait: Duration) -> JoinHandle<Result<Instant, LockError>> {
    let locks = locks.clone();
    std::thread::spawn(move || {
        current_thread().block_on(async {
            let guard = locks.lock("k").wait(wait).acquire().await?;
            let granted = Instant::now();
            guard.release().await?;
            Ok(granted)
        })
    })
}

async fn hold(locks: &LockManager) -> LockGuard {
    locks.lock("k").acquire().await.unwrap()
}

#[test]
fn a_waiter_whose_runtime_stands_still_delays_the_next_by_two_seconds_at_most() {
    let server = RedisServer::start();
    let (driven, still) = (current_thread(), current_thread());
    let locks = driven.block_on(LockManager::connect(server.url())).unwrap();
    let held = driven.block_on(hold(&locks));
    let mut stuck = Box::pin(locks.lock("k").wait_forever().acquire());
    still.block_on(async {
        tokio::select! {
            _ = &mut stuck => panic!("the key is held"),
            () = queue_has(&server, 1) => {}
        }
    });
    // From here on `still` is not driven.
    let next = wait_elsewhere(&locks, SECOND * 20);
    driven.block_on(queue_has(&server, 2));
    let released = Instant::now();
    driven.block_on(held.release()).unwrap();
    let granted = next.join().unwrap().unwrap();
    assert!(granted - released < SECOND * 4, "it took {:?}", granted - released);
}

#[test]
fn a_release_from_another_runtime_wakes_the_waiters_of_the_leases_own() {
    let server = RedisServer::start();
    let (mine, other) = (current_thread(), current_thread());
    let locks = other.block_on(LockManager::connect(server.url())).unwrap();
    let (take_guard, guard) = oneshot::channel();
    let waiter = {
        let locks = locks.clone();
        std::thread::spawn(move || {
            mine.block_on(async {
                assert!(take_guard.send(hold(&locks).await).is_ok());
                let waiter = locks.lock("k").wait(SECOND * 20).acquire().await.unwrap();
                let granted = Instant::now();
                waiter.release().await.unwrap();
                granted
            })
        })
    };
    let held = guard.blocking_recv().unwrap();
    // The waiter now listens for the release, which it expects from its own runtime.
    std::thread::sleep(SECOND);
    let released = Instant::now();
    other.block_on(held.release()).unwrap();
    let granted = waiter.join().unwrap();
    assert!(granted - released < AT_ONCE, "it took {:?}", granted - released);
}
