//! How near a lease was to being lost.

use std::{sync::atomic::Ordering, thread, time::Duration};

use distlock::LockManager;
use test_support::RedisServer;
use tokio::time::{advance, sleep};

use crate::{recorder::Recorder, run, run_paused, wavering_store::WaveringStore};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_margin_is_the_least_that_was_left() {
    run_paused(async {
        let store = WaveringStore::default();
        let locks = LockManager::builder().store(store.clone()).build().unwrap();
        let lock = locks.lock("k").ttl(SECOND * 30);
        let guard = lock.acquire().await.unwrap();
        assert_eq!(guard.health().margin, guard.remaining());
        store.faults.renew.store(true, Ordering::SeqCst);
        sleep(SECOND * 25).await;
        store.faults.renew.store(false, Ordering::SeqCst);
        sleep(SECOND * 2).await;
        // The lease was renewed when less than five seconds were left.
        assert!(guard.remaining() > SECOND * 25);
        let margin = guard.health().margin;
        assert!(margin > SECOND * 2 && margin < SECOND * 5, "{margin:?}");
    });
}

#[test]
fn the_margin_of_a_lost_lease_is_zero() {
    run_paused(async {
        let guard = LockManager::in_memory().lock("k").max_hold(SECOND).acquire().await.unwrap();
        guard.lost().await;
        assert_eq!(guard.health().margin, Duration::ZERO);
    });
}

#[test]
fn a_process_that_stands_still_shows_as_a_pause_of_the_keeper() {
    run_paused(async {
        let guard = LockManager::in_memory().lock("k").ttl(SECOND * 60).acquire().await.unwrap();
        assert_eq!(guard.health().longest_pause, Duration::ZERO);
        // The keeper is to renew within 20 s.
        advance(SECOND * 45).await;
        sleep(SECOND).await;
        let pause = guard.health().longest_pause;
        assert!(guard.is_held() && pause >= SECOND * 25 && pause <= SECOND * 41, "{pause:?}");
    });
}

#[test]
fn a_body_that_blocks_its_thread_shows_as_a_pause_at_the_release() {
    let (recorder, _guard) = Recorder::start();
    run(async {
        let locks = LockManager::in_memory();
        locks.lock("k").run(async { thread::sleep(Duration::from_millis(80)) }).await.unwrap();
    });
    let released = &recorder.events("lock released");
    let [released] = &released[..] else { panic!("one event: {:?}", recorder.take()) };
    assert!(released.seconds("longest_pause") >= 0.08, "{released:?}");
    assert!(!released.fields.contains_key("drift"), "{released:?}");
}

#[test]
fn fenced_grants_of_a_server_tell_of_its_clock() {
    let (recorder, _guard) = Recorder::start();
    let server = RedisServer::start();
    run(async {
        let locks = LockManager::connect(server.url()).await.unwrap();
        let lock = locks.lock("k").fenced();
        let first = lock.clone().acquire().await.unwrap();
        assert_eq!(first.health().drift, None);
        first.release().await.unwrap();
        sleep(Duration::from_millis(300)).await;
        let second = lock.acquire().await.unwrap();
        let drift = second.health().drift.expect("two readings of the server's clock");
        assert!(drift.abs() < 0.01, "{drift}");
        second.release().await.unwrap();
        // A grant without a token reads no clock.
        let third = locks.lock("k").acquire().await.unwrap();
        assert_eq!(third.health().drift, None);
    });
    let released = recorder.events("lock released");
    assert!(!released[0].fields.contains_key("drift") && released[1].fields.contains_key("drift"));
}

/// The counter of the key is ahead of the server's clock, as after a step of that clock.
#[test]
fn a_server_whose_clock_has_stepped_shows_as_drift() {
    let server = RedisServer::start();
    run(async {
        let locks = LockManager::connect(server.url()).await.unwrap();
        let first = locks.lock("k").fenced().acquire().await.unwrap();
        let counter = server.fencing_counter_of("lock:k").await.unwrap();
        let ahead = first.fencing_token().unwrap().value() + 3_600_000_000;
        first.release().await.unwrap();
        let kind: String = server.command(&["TYPE", &counter]).await;
        assert_eq!(kind, "string");
        server.command::<()>(&["SET", &counter, &ahead.to_string(), "KEEPTTL"]).await;
        let second = locks.lock("k").fenced().acquire().await.unwrap();
        let drift = second.health().drift.expect("two readings");
        assert!(drift > 1.0, "an hour within moments: {drift}");
    });
}
