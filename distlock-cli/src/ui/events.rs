//! The stream of views.

use std::{convert::Infallible, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use distlock_core::LockManager;
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::{sync::watch, time::sleep};

use crate::{
    json::{holder, millis},
    watch::{View, Watch},
};

/// Looks at the locks again and again, for as long as somebody looks at the page.
pub(super) fn watch(manager: LockManager, prefix: String, every: Duration) -> watch::Receiver<String> {
    let (sender, views) = watch::channel(String::new());
    tokio::spawn(async move {
        let mut watch = Watch::default();
        loop {
            // One receiver stays with the page, of which the others are made.
            if sender.receiver_count() > 1 {
                let view = watch.look(&manager, &prefix).await;
                sender.send_replace(to_json(&view));
            }
            sleep(every).await;
        }
    });
    views
}

/// The views for one reader, from now on.
pub(super) fn stream(views: watch::Receiver<String>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = stream::unfold(views, |mut views| async move {
        views.changed().await.ok()?;
        let event = Event::default().data(&*views.borrow_and_update());
        Some((Ok(event), views))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

fn to_json(view: &View) -> String {
    let rows = view.rows.iter().map(|row| {
        let mut object = holder(&row.holder);
        object["ttl_ms"] = row.ttl.map(millis).into();
        object
    });
    json!({
        "rows": rows.collect::<Vec<_>>(),
        "holders": view.holders,
        "waiters": view.waiters,
        "hand_overs_per_second": view.hand_overs_per_second,
        "longest_wait_ms": view.longest_wait.map(millis),
        "error": view.error,
    })
    .to_string()
}
