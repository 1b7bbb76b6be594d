//! The two spans of a call.

use std::time::Duration;

use distlock::{LockError, LockManager, distributed_lock};
use tokio::time::{sleep, timeout};
use tracing::{Instrument, info_span};

use crate::{recorder::Recorder, run_paused};

#[distributed_lock(key = "order:{id}", wait = "2s", locks = locks)]
async fn fulfil(locks: &LockManager, id: u64) -> Result<(), LockError> {
    tracing::info!(target: "distlock", "in the body");
    async { tokio::task::yield_now().await }.instrument(info_span!("work")).await;
    Ok(())
}

#[test]
fn both_spans_belong_to_the_span_around_the_call() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let locks = LockManager::in_memory();
        let request = info_span!("request");
        fulfil(&locks, 42).instrument(request).await.unwrap();
    });
    let [acquire] = &recorder.spans("distlock.acquire")[..] else { panic!("one span") };
    assert_eq!(acquire.parent.as_deref(), Some("request"));
    assert_eq!((acquire.field("key"), acquire.field("template")), ("order:42", "order:{id}"));
    assert_eq!((acquire.field("wait"), acquire.field("outcome")), ("2.0", "granted"));
    let [hold] = &recorder.spans("distlock.hold")[..] else { panic!("one span") };
    assert_eq!(hold.parent.as_deref(), Some("request"));
    assert_eq!((hold.field("key"), hold.field("template")), ("order:42", "order:{id}"));
    assert_eq!((hold.field("waited"), hold.field("outcome"), hold.field("held")), ("0.0", "released", "0.0"));
    assert!((29.0..30.0).contains(&hold.seconds("margin")), "{hold:?}");
}

#[test]
fn the_body_runs_inside_of_the_span_of_the_hold() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async { fulfil(&LockManager::in_memory(), 42).await.unwrap() });
    assert_eq!(recorder.events("in the body")[0].parent.as_deref(), Some("distlock.hold"));
    assert_eq!(recorder.spans("work")[0].parent.as_deref(), Some("distlock.hold"));
}

#[test]
fn the_events_of_a_call_belong_to_its_spans() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let locks = LockManager::in_memory();
        let _held = locks.lock("k").acquire().await.unwrap();
        locks.lock("k").acquire().await.unwrap_err();
    });
    let parent = |message: &str| recorder.events(message)[0].parent.clone();
    assert_eq!(parent("lock granted").as_deref(), Some("distlock.acquire"));
    assert_eq!(parent("lock busy").as_deref(), Some("distlock.acquire"));
    assert_eq!(parent("lock released").as_deref(), Some("distlock.hold"));
}

#[test]
fn a_call_that_is_dropped_says_so_in_its_span() {
    let (recorder, _guard) = Recorder::start();
    run_paused(async {
        let locks = LockManager::in_memory();
        let _held = locks.lock("k").acquire().await.unwrap();
        let waits = locks.lock("k").wait_forever().acquire();
        timeout(Duration::from_secs(1), waits).await.unwrap_err();
        sleep(Duration::from_secs(1)).await;
    });
    let spans = recorder.spans("distlock.acquire");
    let outcomes: Vec<_> = spans.iter().map(|span| span.field("outcome")).collect();
    assert_eq!(outcomes, ["granted", "dropped"]);
}
