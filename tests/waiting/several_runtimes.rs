//! The runtimes of one process queue on the server as processes do, and none of them waits for another.

use std::{
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use distlock::{LockError, LockGuard, LockManager};
use test_support::RedisServer;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::sleep,
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

/// Takes the key `k` again and again. Returns how often. `gaps` has the time of the latest release, and the
/// longest time from a release to the next grant.
async fn turns_until(
    end: Instant,
    locks: &LockManager,
    wait: Duration,
    gaps: &Mutex<(Instant, Duration)>,
) -> u32 {
    let mut turns = 0;
    while Instant::now() < end {
        let Ok(guard) = locks.lock("k").wait(wait).acquire().await else { continue };
        let (released, longest) = *gaps.lock().unwrap();
        gaps.lock().unwrap().1 = longest.max(released.elapsed());
        sleep(Duration::from_millis(1)).await;
        gaps.lock().unwrap().0 = Instant::now();
        guard.release().await.unwrap();
        turns += 1;
    }
    turns
}

/// As in actix-web, whose workers have a runtime each. Some of the waiters give up.
#[test]
fn no_runtime_leaves_a_gap_in_which_nobody_has_the_key() {
    let server = RedisServer::start();
    let locks = current_thread().block_on(LockManager::connect(server.url())).unwrap();
    let end = Instant::now() + SECOND * 4;
    let gaps = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (locks, gaps) = (locks.clone(), Arc::clone(&gaps));
            std::thread::spawn(move || {
                let [one, two, three] = [SECOND * 20, SECOND * 20, Duration::from_millis(5)]
                    .map(|wait| turns_until(end, &locks, wait, &gaps));
                let (one, two, three) = current_thread().block_on(async { tokio::join!(one, two, three) });
                one + two + three
            })
        })
        .collect();
    let turns: Vec<u32> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    let longest = gaps.lock().unwrap().1;
    assert!(longest < SECOND, "the key was free for {longest:?}");
    assert!(turns.iter().all(|turns| *turns > 20), "{turns:?}");
}
