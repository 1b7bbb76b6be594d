//! The gauges end at zero, however the calls and guards end.

use std::{future::pending, time::Duration};

use distlock::LockManager;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};

use crate::text::value;

const SECOND: Duration = Duration::from_secs(1);

/// Runs a future in paused time, and gives its reading function what an exporter shows.
fn with_exporter(scenario: impl AsyncFnOnce(&dyn Fn(&str) -> Option<f64>)) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(scenario(&|series| value(&handle.render(), series)));
    });
}

#[test]
fn held_and_waiting_follow_guards_and_calls_that_are_dropped() {
    with_exporter(async |read| {
        let held = || read("distlock_held{template=\"dropped\"}");
        let waiting = || read("distlock_waiting{template=\"dropped\"}");
        let locks = LockManager::in_memory();
        let lock = || locks.lock("k").template("dropped").wait_forever();
        let guard = lock().acquire().await.unwrap();
        assert_eq!((held(), waiting()), (Some(1.0), Some(0.0)));
        let waits = tokio::spawn(lock().acquire());
        sleep(SECOND).await;
        assert_eq!((held(), waiting()), (Some(1.0), Some(1.0)));
        waits.abort();
        waits.await.unwrap_err();
        assert_eq!((held(), waiting()), (Some(1.0), Some(0.0)));
        drop(guard);
        assert_eq!((held(), waiting()), (Some(0.0), Some(0.0)));
        timeout(SECOND, lock().run(pending::<()>())).await.unwrap_err();
        assert_eq!((held(), waiting()), (Some(0.0), Some(0.0)));
    });
}

#[test]
fn a_panic_ends_what_is_held() {
    with_exporter(async |read| {
        let locks = LockManager::in_memory();
        let panics = locks.lock("k").template("panic").run(async { panic!("as the test wants") });
        tokio::spawn(panics).await.unwrap_err();
        assert_eq!(read("distlock_held{template=\"panic\"}"), Some(0.0));
    });
}

#[test]
fn a_drain_ends_what_is_held_and_what_waits() {
    with_exporter(async |read| {
        let locks = LockManager::in_memory();
        let lock = locks.lock("k").template("drain").wait_forever();
        let bodies = [(); 3].map(|()| tokio::spawn(lock.clone().run(pending::<()>())));
        sleep(SECOND).await;
        assert_eq!(read("distlock_held{template=\"drain\"}"), Some(1.0));
        assert_eq!(read("distlock_waiting{template=\"drain\"}"), Some(2.0));
        locks.drain(SECOND).await;
        for body in bodies {
            body.await.unwrap().unwrap_err();
        }
        assert_eq!(read("distlock_held{template=\"drain\"}"), Some(0.0));
        assert_eq!(read("distlock_waiting{template=\"drain\"}"), Some(0.0));
        assert_eq!(read("distlock_lost_total{template=\"drain\",reason=\"shutdown\"}"), Some(1.0));
    });
}

#[test]
fn a_recorder_that_is_installed_late_is_told_the_number() {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let locks = LockManager::in_memory();
    let lock = || locks.lock("k").template("late");
    let first = runtime.block_on(lock().acquire()).unwrap();
    with_exporter(async |read| {
        drop(first);
        assert_eq!(read("distlock_held{template=\"late\"}"), Some(0.0), "not below zero");
    });
}

#[test]
fn renewals_and_losses_are_counted_with_their_reason() {
    with_exporter(async |read| {
        let locks = LockManager::in_memory();
        let lock = locks.lock("k").template("lost").ttl(SECOND * 3).max_hold(SECOND * 10);
        lock.run(pending::<()>()).await.unwrap_err();
        let renewals = read("distlock_renewals_total{template=\"lost\"}").unwrap();
        assert!((9.0..=10.0).contains(&renewals), "{renewals}");
        assert_eq!(read("distlock_lost_total{template=\"lost\",reason=\"max_hold\"}"), Some(1.0));
    });
}
