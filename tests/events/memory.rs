//! Events that need no server.

use std::{sync::atomic::Ordering, time::Duration};

use distlock::{LockError, LockManager, LostReason, MemoryStore, Release, distributed_lock};
use tokio::time::sleep;
use tracing::Level;

use crate::{recorder::Recorder, run_paused, wavering_store::WaveringStore};

fn of(store: &WaveringStore) -> LockManager {
    LockManager::builder().store(store.clone()).build().unwrap()
}

#[test]
fn a_call_reports_its_grant_and_its_release_at_debug_level() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let locks = LockManager::in_memory();
        let lock = locks.lock("order:42").template("order:{id}").renew(false);
        lock.run(sleep(Duration::from_secs(3))).await.unwrap();
    });
    let [granted, released] = &recorder.take()[..] else { panic!("two events") };
    for event in [granted, released] {
        assert_eq!((event.field("key"), event.field("template")), ("order:42", "order:{id}"));
        assert_eq!(event.level, Level::DEBUG);
    }
    assert_eq!((granted.text.as_str(), granted.field("waited")), ("lock granted", "0.0"));
    assert_eq!((released.text.as_str(), released.field("outcome")), ("lock released", "released"));
    assert_eq!(released.field("held"), "3.0");
    assert!((26.0..27.0).contains(&released.seconds("margin")), "{released:?}");
}

#[test]
fn a_refused_call_reports_that_the_key_is_busy() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let locks = LockManager::in_memory();
        let _held = locks.lock("k").acquire().await.unwrap();
        locks.lock("k").wait(Duration::from_secs(2)).acquire().await.unwrap_err();
    });
    let [busy] = &recorder.events("lock busy")[..] else { panic!("one event") };
    assert_eq!((busy.level, busy.field("key"), busy.field("template")), (Level::DEBUG, "k", "-"));
    assert!((busy.seconds("waited") - 2.0).abs() < 0.01, "{busy:?}");
}

#[distributed_lock(key = "job:{name}", on_busy = skip, locks = locks)]
async fn job(locks: &LockManager, name: &str) -> Result<(), LockError> {
    Ok(())
}

#[distributed_lock(key = "job:{name}", on_error = log, locks = locks)]
async fn logged_job(locks: &LockManager, name: &str) {}

#[test]
fn a_skipped_function_reports_its_template() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let locks = LockManager::in_memory();
        let _held = locks.lock("job:nightly").acquire().await.unwrap();
        job(&locks, "nightly").await.unwrap();
        logged_job(&locks, "nightly").await;
    });
    let [skipped] = &recorder.events("call skipped: the lock is busy")[..] else { panic!("one event") };
    assert_eq!(skipped.level, Level::INFO);
    assert_eq!((skipped.field("key"), skipped.field("template")), ("job:nightly", "job:{name}"));
    let [not_run] = &recorder.events("a locked function did not run to its end")[..] else {
        panic!("one event")
    };
    assert_eq!(not_run.level, Level::ERROR);
}

#[test]
fn a_lost_lock_is_reported_once_and_its_span_says_so() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let locks = LockManager::in_memory();
        let lock = locks.lock("k").max_hold(Duration::from_secs(1));
        lock.run(std::future::pending::<()>()).await.unwrap_err();
        let guard = locks.lock("k").max_hold(Duration::from_secs(1)).acquire().await.unwrap();
        assert_eq!(guard.lost().await, LostReason::MaxHold);
        drop(guard);
        sleep(Duration::from_secs(60)).await;
    });
    let lost = recorder.events("lock lost");
    assert_eq!(lost.len(), 2, "{lost:?}");
    for event in &lost {
        assert_eq!((event.level, event.parent.as_deref()), (Level::WARN, Some("distlock.hold")));
        assert!(event.field("reason").contains("max_hold"), "{event:?}");
    }
    assert!(recorder.spans("distlock.hold").iter().all(|span| span.field("outcome") == "lost"));
}

#[test]
fn a_broken_lock_is_reported_with_the_label_of_its_holder() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let locks = LockManager::builder().store(MemoryStore::default()).owner("worker-7").build().unwrap();
        let guard = locks.lock("k").acquire().await.unwrap();
        let seen = locks.inspect("k").await.unwrap().unwrap();
        assert!(locks.break_lock(&seen).await.unwrap());
        assert!(!locks.break_lock(&seen).await.unwrap());
        assert_eq!(guard.lost().await, LostReason::NotOwner);
    });
    let [broken] = &recorder.events("lock broken: its holder is not told yet")[..] else {
        panic!("one event")
    };
    assert_eq!((broken.level, broken.field("key"), broken.field("holder")), (Level::WARN, "k", "worker-7"));
}

#[test]
fn a_wrong_use_is_an_error() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async { LockManager::in_memory().lock("").acquire().await.unwrap_err() });
    let [wrong] = &recorder.take()[..] else { panic!("one event") };
    assert_eq!(wrong.level, Level::ERROR);
    assert_eq!(wrong.text, "a lock is used or configured in a wrong way");
    assert_eq!(wrong.parent.as_deref(), Some("distlock.acquire"));
}

#[test]
fn a_waiter_of_this_runtime_reports_the_hand_over() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let locks = LockManager::in_memory();
        let counter = locks.lock("k").wait(Duration::from_secs(9)).fair(false);
        let work = || counter.clone().run(sleep(Duration::from_secs(1)));
        let (one, other) = tokio::join!(work(), work());
        one.and(other).unwrap();
    });
    let [handed_over] = &recorder.events("lock handed over")[..] else { panic!("one event") };
    assert_eq!((handed_over.level, handed_over.field("took")), (Level::DEBUG, "0.0"));
    let outcomes = recorder.events("lock released");
    let outcomes: Vec<_> = outcomes.iter().map(|event| event.field("outcome")).collect();
    assert_eq!(outcomes, ["handed over", "released"]);
}

#[test]
fn how_a_guard_ends_is_the_outcome() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let store = WaveringStore::default();
        let locks = of(&store);
        drop(locks.lock("dropped").acquire().await.unwrap());
        locks.lock("background").release(Release::Background).run(async {}).await.unwrap();
        let guard = locks.lock("unconfirmed").ttl(Duration::from_secs(1)).acquire().await.unwrap();
        // The releases in the background.
        sleep(Duration::from_millis(1)).await;
        store.faults.release.store(true, Ordering::SeqCst);
        guard.release().await.unwrap_err();
        sleep(Duration::from_secs(2)).await;
    });
    let released = recorder.events("lock released");
    let outcomes: Vec<_> =
        released.iter().map(|event| (event.field("key"), event.field("outcome"))).collect();
    let background = "released in the background";
    assert_eq!(
        outcomes,
        [("dropped", background), ("background", background), ("unconfirmed", "release failed")]
    );
    let [given_up] = &recorder.events("lock not released: it ends with its ttl")[..] else {
        panic!("one event")
    };
    assert_eq!((given_up.level, given_up.field("key")), (Level::WARN, "unconfirmed"));
}

#[test]
fn what_fails_and_is_tried_again_is_reported() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let store = WaveringStore::default();
        let locks = of(&store);
        // The counter of a lease that is held for long is told to last, which fails.
        let fenced = locks.lock("fenced").ttl(Duration::from_secs(7200)).fenced().acquire().await.unwrap();
        sleep(Duration::from_secs(24 * 3600)).await;
        drop(fenced);
        store.faults.renew.store(true, Ordering::SeqCst);
        store.faults.release.store(true, Ordering::SeqCst);
        let ttl = Duration::from_secs(1);
        let body = locks.lock("k").ttl(ttl).run(sleep(ttl / 2));
        body.await.unwrap();
        store.faults.acquire.store(true, Ordering::SeqCst);
        locks.lock("unanswered").ttl(ttl).acquire().await.unwrap_err();
        sleep(ttl * 2).await;
    });
    for (level, message) in [
        (Level::DEBUG, "the fencing counter was not told to last"),
        (Level::DEBUG, "renewal failed, trying again"),
        (Level::WARN, "release failed, trying again"),
        (Level::DEBUG, "lock not acquired"),
        (Level::DEBUG, "an acquire without an answer is left to its ttl"),
    ] {
        let events = recorder.events(message);
        assert!(events.first().is_some_and(|event| event.level == level), "{message}: {events:?}");
    }
}

#[test]
fn a_quorum_reports_what_becomes_of_its_nodes() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let nodes = [(); 5].map(|()| WaveringStore::default());
        let locks = LockManager::quorum(nodes.clone()).unwrap();
        let guard = locks.lock("k").acquire().await.unwrap();
        // All nodes have answered.
        sleep(Duration::from_millis(1)).await;
        for node in &nodes[3..] {
            node.forget();
        }
        nodes[4].faults.take_again.store(true, Ordering::SeqCst);
        guard.renew().await.unwrap();
        sleep(Duration::from_secs(5)).await;
    });
    for (level, message) in [
        (Level::DEBUG, "lease healed"),
        (Level::DEBUG, "lease not healed"),
        (Level::WARN, "a node of the quorum does not answer; skipping it"),
        (Level::INFO, "the node of the quorum answers again"),
    ] {
        let events = recorder.events(message);
        assert!(events.first().is_some_and(|event| event.level == level), "{message}: {events:?}");
    }
}

#[test]
fn a_fault_of_this_library_and_a_failed_request_are_errors() {
    use axum::response::IntoResponse;

    let (recorder, _guard) = Recorder::start();
    let error = run_paused(async {
        let error = LockManager::in_memory().lock("").acquire().await.unwrap_err();
        // It never ends: its value would be that of a body that has none.
        let stopped = distlock::__private::never_lost::<()>(error.clone());
        tokio::time::timeout(Duration::from_secs(1), stopped).await.unwrap_err();
        error
    });
    assert_eq!(error.into_response().status(), 500);
    for message in [
        "a body with `on_lost = finish` was stopped",
        "a request failed at a lock that is used or configured in a wrong way",
    ] {
        let [event] = &recorder.events(message)[..] else { panic!("{message}: one event") };
        assert_eq!(event.level, Level::ERROR);
    }
}
