//! A release can hand the key to the next waiter of its own process. With `fair = false` the waiter gets even
//! the lease, without a command.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use distlock::{LockError, LockManager};
use test_support::{RedisServer, eventually, in_time};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::JoinSet,
    time::sleep,
};

use crate::{SOON, gets, manager, queue_has, queue_length, scripts, wait_for, wait_in_queue};

#[tokio::test]
async fn fencing_tokens_rise_over_hand_overs_within_a_process() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let mut held = locks.lock("k").fenced().acquire().await.unwrap();
    for fair in [true, true, false, false] {
        let waiter = wait_for(locks.lock("k").fenced().fair(fair));
        queue_has(&server, 1).await;
        let behind = wait_for(locks.lock("k").fenced().fair(fair));
        for waiter in [waiter, behind] {
            let before = held.fencing_token().expect("the lock is fenced");
            held.release().await.unwrap();
            held = gets(waiter).await;
            assert!(held.fencing_token().expect("the lock is fenced") > before);
        }
    }
}

#[tokio::test]
async fn a_release_dropped_midway_hands_the_key_to_the_next_waiter() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let held = locks.lock("k").acquire().await.unwrap();
    let first = wait_in_queue(&server, &locks, 1).await;
    let second = wait_for(locks.lock("k"));
    held.release().await.unwrap();
    let held = gets(first).await;
    // The second waiter becomes the contender, and has not asked yet.
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

/// A waiter leaves at the moment at which a holder on another runtime hands the key over to it. Either
/// command may come first.
#[test]
fn a_waiter_that_leaves_during_its_hand_over_delays_no_other() {
    let runtime = || Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (here, there): (Runtime, Runtime) = (runtime(), runtime());
    here.block_on(async {
        let server = RedisServer::start();
        let (locks, elsewhere) = (manager(server.url()).await, manager(server.url()).await);
        for gap in (0..150_u64).cycle().take(600) {
            let held = locks.lock("k").wait(SOON).acquire().await.unwrap();
            let leaver = there.spawn(locks.lock("k").wait_forever().acquire());
            queue_has(&server, 1).await;
            let other = wait_for(elsewhere.lock("k"));
            queue_has(&server, 2).await;
            let release = tokio::spawn(async move {
                sleep(Duration::from_micros(300)).await;
                held.release().await
            });
            sleep(Duration::from_micros(250 + gap * 2)).await;
            leaver.abort();
            drop(leaver);
            release.await.unwrap().unwrap();
            let served = tokio::time::timeout(Duration::from_secs(1), other).await;
            served.expect("a lease without a holder would last 2 s").unwrap().release().await.unwrap();
        }
        eventually(SOON, || async { server.keys().await.is_empty() }).await;
    });
    there.shutdown_background();
}

#[tokio::test]
async fn local_hand_overs_leave_other_processes_their_share() {
    let server = RedisServer::start();
    let (crowded, other) = (manager(server.url()).await, manager(server.url()).await);
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
        // The crowd may be in the wait queue, too.
        let (before, waiter) = (queue_length(&server).await, wait_for(other.lock("k")));
        eventually(SOON, || async { waiter.is_finished() || queue_length(&server).await > before.min(1) })
            .await;
        let at_arrival = served.load(Ordering::Relaxed);
        let guard = gets(waiter).await;
        let overtaken_by = served.load(Ordering::Relaxed) - at_arrival;
        assert!(overtaken_by <= 2 * 17, "{overtaken_by} of the crowd came first");
        guard.release().await.unwrap();
    }
    crowd.shutdown().await;
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
}

#[tokio::test]
async fn a_lease_handed_over_locally_is_renewed_and_released_by_its_new_holder() {
    const TTL: Duration = Duration::from_millis(300);
    let server = RedisServer::start();
    let locks = LockManager::builder().url(server.url()).ttl(TTL).connect().await.unwrap();
    let held = locks.lock("k").acquire().await.unwrap();
    let waiter = wait_for(locks.lock("k").fair(false));
    queue_has(&server, 1).await;
    let owner: String = server.command(&["GET", "lock:k"]).await;
    drop(held);
    let guard = gets(waiter).await;
    assert_eq!(server.command::<String>(&["GET", "lock:k"]).await, owner, "it is the same lease");
    sleep(TTL * 4).await;
    assert!(guard.is_held());
    assert!(server.has("lock:k").await);
    guard.release().await.unwrap();
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
}

#[tokio::test]
async fn a_lost_lease_or_one_of_another_ttl_is_not_handed_over_locally() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    for lost in [false, true] {
        let ttl = if lost { Duration::from_secs(30) } else { Duration::from_secs(20) };
        let held = locks.lock("k").acquire().await.unwrap();
        let waiter = wait_for(locks.lock("k").ttl(ttl).fair(false));
        queue_has(&server, 1).await;
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

/// The waiter leaves at the moment at which the lease is handed over to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_whose_next_holder_leaves_is_released() {
    let locks = LockManager::in_memory();
    for gap in 0..300_u64 {
        let held = locks.lock("k").wait(SOON).acquire().await.unwrap();
        let (started, mut starts) = mpsc::channel(1);
        let acquire = locks.lock("k").fair(false).wait_forever().acquire();
        let waiter = tokio::spawn(async move {
            let _ = started.send(()).await;
            acquire.await
        });
        starts.recv().await;
        sleep(Duration::from_micros(gap % 5 * 100)).await;
        let release = tokio::spawn(held.release());
        for _ in 0..gap * 3 {
            std::hint::spin_loop();
        }
        waiter.abort();
        drop(waiter);
        release.await.unwrap().unwrap();
        let free = in_time(SOON, locks.lock("k").wait(SOON).acquire()).await;
        free.expect("the key is free").release().await.unwrap();
    }
}
