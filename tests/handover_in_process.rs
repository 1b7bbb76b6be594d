//! A release brings the next waiter of its own process along, in the order of arrival among all processes; and a lease can be left to it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use common::{RedisServer, eventually, in_time};
use distlock::{LockError, LockGuard, LockManager};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

mod common;

const SOON: Duration = Duration::from_secs(5);
/// Between arrivals whose order counts.
const LATER: Duration = Duration::from_millis(100);
const LINE: &str = "lock:k\u{1f}qBKK@";

async fn manager(server: &RedisServer) -> LockManager {
    LockManager::connect(server.url()).await.unwrap()
}

async fn scripts(server: &RedisServer) -> u64 {
    server.calls(&["evalsha", "eval"]).await
}

async fn in_line(server: &RedisServer) -> usize {
    server.command::<Option<String>>(&["GET", LINE]).await.map_or(0, |line| line.lines().count() - 1)
}

async fn gets(waiter: JoinHandle<Result<LockGuard, LockError>>) -> LockGuard {
    in_time(SOON, waiter).await.unwrap().unwrap()
}

fn waits(locks: &LockManager) -> JoinHandle<Result<LockGuard, LockError>> {
    tokio::spawn(locks.lock("k").wait_forever().acquire())
}

const TASKS: u64 = 8;
const EACH: u64 = 40;

/// Tasks that each take the key a few times; gives back how many scripts that took.
async fn contend(fair: bool) -> u64 {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    let inside = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (locks, inside) = (locks.clone(), Arc::clone(&inside));
        tasks.spawn(async move {
            for _ in 0..EACH {
                let guard = locks.lock("k").fair(fair).wait_forever().acquire().await.unwrap();
                assert!(!inside.swap(true, Ordering::SeqCst), "two are inside");
                sleep(Duration::from_millis(1)).await;
                assert!(inside.swap(false, Ordering::SeqCst));
                guard.release().await.unwrap();
            }
        });
    }
    in_time(SOON * 4, tasks.join_all()).await;
    // But for a question that was under way: nobody is told what he sees.
    let told = server.calls(&["publish"]).await;
    assert!(told <= TASKS * EACH / 10, "{told} messages");
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
    scripts(&server).await
}

#[tokio::test]
async fn an_acquisition_takes_one_command() {
    let scripts = contend(true).await;
    assert!(scripts <= TASKS * EACH * 12 / 10, "{scripts} scripts");
}

#[tokio::test]
async fn a_lease_that_is_left_takes_none() {
    let scripts = contend(false).await;
    assert!(scripts <= TASKS * EACH / 3, "{scripts} scripts");
}

#[tokio::test]
async fn who_came_first_is_served_first_in_whatever_process() {
    let server = RedisServer::start();
    let processes = [manager(&server).await, manager(&server).await, manager(&server).await];
    let mut held = processes[0].lock("k").acquire().await.unwrap();
    let mut waiters = Vec::new();
    for process in [0, 0, 1, 0, 2, 1, 2, 0, 0, 1] {
        waiters.push(waits(&processes[process]));
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

#[tokio::test]
async fn fencing_tokens_rise_within_a_process() {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    let mut held = locks.lock("k").fenced().acquire().await.unwrap();
    for fair in [true, true, false, false] {
        let waiter = tokio::spawn(locks.lock("k").fenced().fair(fair).wait_forever().acquire());
        eventually(SOON, || async { in_line(&server).await == 1 }).await;
        let behind = tokio::spawn(locks.lock("k").fenced().fair(fair).wait_forever().acquire());
        for waiter in [waiter, behind] {
            let before = held.fencing_token().expect("asked for");
            held.release().await.unwrap();
            held = gets(waiter).await;
            assert!(held.fencing_token().expect("asked for") > before);
        }
    }
}

#[tokio::test]
async fn a_release_that_is_dropped_midway_brings_the_next_along() {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    let held = locks.lock("k").acquire().await.unwrap();
    let first = waits(&locks);
    eventually(SOON, || async { in_line(&server).await == 1 }).await;
    let second = waits(&locks);
    held.release().await.unwrap();
    let held = gets(first).await;
    // Has the turn, and has not asked.
    tokio::task::yield_now().await;
    let before = scripts(&server).await;
    {
        let mut release = Box::pin(held.release());
        let _ = release.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    let held = gets(second).await;
    assert_eq!(scripts(&server).await, before + 1);
    held.release().await.unwrap();
    assert!(server.keys().await.is_empty());
}

/// A waiter leaves just when it is brought along, by a holder on another runtime: whose command comes first is chance.
#[test]
fn a_waiter_that_leaves_while_it_is_brought_along_holds_nobody_up() {
    let runtime = || Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (here, there): (Runtime, Runtime) = (runtime(), runtime());
    here.block_on(async {
        let server = RedisServer::start();
        let (locks, elsewhere) = (manager(&server).await, manager(&server).await);
        for gap in (0..150_u64).cycle().take(600) {
            let held = locks.lock("k").wait(SOON).acquire().await.unwrap();
            let leaver = there.spawn(locks.lock("k").wait_forever().acquire());
            eventually(SOON, || async { in_line(&server).await == 1 }).await;
            let other = waits(&elsewhere);
            eventually(SOON, || async { in_line(&server).await == 2 }).await;
            let release = tokio::spawn(async move {
                sleep(Duration::from_micros(300)).await;
                held.release().await
            });
            sleep(Duration::from_micros(250 + gap * 2)).await;
            leaver.abort();
            drop(leaver);
            release.await.unwrap().unwrap();
            let served = tokio::time::timeout(Duration::from_secs(1), other).await;
            served
                .expect("the lease that nobody claims lasts 2 s")
                .unwrap()
                .unwrap()
                .release()
                .await
                .unwrap();
        }
        eventually(SOON, || async { server.keys().await.is_empty() }).await;
    });
    there.shutdown_background();
}

#[tokio::test]
async fn who_gives_up_leaves_its_place_to_the_next_of_its_process() {
    let server = RedisServer::start();
    let (holder, one, other) = (manager(&server).await, manager(&server).await, manager(&server).await);
    let held = holder.lock("k").acquire().await.unwrap();
    let gives_up = tokio::spawn(one.lock("k").wait(LATER * 4).acquire());
    eventually(SOON, || async { in_line(&server).await == 1 }).await;
    let second = waits(&other);
    eventually(SOON, || async { in_line(&server).await == 2 }).await;
    let first = waits(&one);
    assert!(matches!(in_time(SOON, gives_up).await.unwrap(), Err(LockError::Busy { .. })));
    held.release().await.unwrap();
    let held = gets(first).await;
    assert!(!second.is_finished());
    held.release().await.unwrap();
    gets(second).await.release().await.unwrap();
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn a_crowd_that_gives_up_one_by_one_asks_no_oftener_than_one() {
    let server = RedisServer::start();
    let (holder, waiting) = (manager(&server).await, manager(&server).await);
    let held = holder.lock("k").acquire().await.unwrap();
    let mut crowd = JoinSet::new();
    for number in 0..1000 {
        let wait = Duration::from_millis(500) + Duration::from_millis(number);
        crowd.spawn(waiting.lock("k").wait(wait).acquire());
    }
    let busy = crowd.join_all().await;
    assert!(busy.iter().all(|result| matches!(result, Err(LockError::Busy { .. }))));
    // 64, 128, .. 1,200 ms apart, less up to 15 %, and the way out.
    let asked = scripts(&server).await;
    assert!(asked < 12, "{asked} questions in 1.5 s");
    eventually(SOON, || async { in_line(&server).await == 0 }).await;
    held.release().await.unwrap();
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn leases_that_are_left_leave_others_their_share() {
    let server = RedisServer::start();
    let (crowded, other) = (manager(&server).await, manager(&server).await);
    let served = Arc::new(AtomicU64::new(0));
    let mut crowd = JoinSet::new();
    for _ in 0..10 {
        let (locks, served) = (crowded.clone(), Arc::clone(&served));
        crowd.spawn(async move {
            loop {
                let guard = locks.lock("k").fair(false).wait_forever().acquire().await.unwrap();
                served.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(1)).await;
                guard.release().await.unwrap();
            }
        });
    }
    for _ in 0..5 {
        // The crowd's own place may stand there, too.
        let (before, waiter) = (in_line(&server).await, waits(&other));
        eventually(SOON, || async { waiter.is_finished() || in_line(&server).await > before.min(1) }).await;
        let came = served.load(Ordering::Relaxed);
        let guard = gets(waiter).await;
        let meanwhile = served.load(Ordering::Relaxed) - came;
        assert!(meanwhile <= 2 * 17, "{meanwhile} of the crowd came first");
        guard.release().await.unwrap();
    }
    crowd.shutdown().await;
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
}

#[tokio::test]
async fn a_lease_that_was_left_is_renewed_and_released_by_who_took_it() {
    const TTL: Duration = Duration::from_millis(300);
    let server = RedisServer::start();
    let locks = LockManager::builder().url(server.url()).ttl(TTL).connect().await.unwrap();
    let held = locks.lock("k").acquire().await.unwrap();
    let heir = tokio::spawn(locks.lock("k").fair(false).wait_forever().acquire());
    eventually(SOON, || async { in_line(&server).await == 1 }).await;
    let owner: String = server.command(&["GET", "lock:k"]).await;
    drop(held);
    let heir = gets(heir).await;
    assert_eq!(server.command::<String>(&["GET", "lock:k"]).await, owner, "it is the same lease");
    sleep(TTL * 4).await;
    assert!(heir.is_held());
    assert!(server.has("lock:k").await);
    heir.release().await.unwrap();
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
}

/// The lease of another ttl, or one that is lost, is nobody's to take over.
#[tokio::test]
async fn only_a_lease_that_will_do_is_taken_over() {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    for lost in [false, true] {
        let ttl = if lost { Duration::from_secs(30) } else { Duration::from_secs(20) };
        let held = locks.lock("k").acquire().await.unwrap();
        let waiter = tokio::spawn(locks.lock("k").ttl(ttl).fair(false).wait_forever().acquire());
        eventually(SOON, || async { in_line(&server).await == 1 }).await;
        let before: String = server.command(&["GET", "lock:k"]).await;
        if lost {
            server.command::<()>(&["SET", "lock:k", "theirs", "PX", "100"]).await;
            assert!(matches!(held.renew().await, Err(LockError::Lost { .. })));
        }
        let _ = held.release().await;
        let guard = gets(waiter).await;
        let after: String = server.command(&["GET", "lock:k"]).await;
        assert!(after != before && after != "theirs");
        guard.release().await.unwrap();
    }
}

/// The heir goes away just when a lease is left to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_nobody_takes_over_is_released() {
    let locks = LockManager::in_memory();
    for gap in 0..300_u64 {
        let held = locks.lock("k").wait(SOON).acquire().await.unwrap();
        let (came, mut comes) = mpsc::channel(1);
        let acquire = locks.lock("k").fair(false).wait_forever().acquire();
        let heir = tokio::spawn(async move {
            let _ = came.send(()).await;
            acquire.await
        });
        comes.recv().await;
        sleep(Duration::from_micros(gap % 5 * 100)).await;
        let release = tokio::spawn(held.release());
        for _ in 0..gap * 3 {
            std::hint::spin_loop();
        }
        heir.abort();
        drop(heir);
        release.await.unwrap().unwrap();
        let free = in_time(SOON, locks.lock("k").wait(SOON).acquire()).await;
        free.expect("nobody has it").release().await.unwrap();
    }
}
