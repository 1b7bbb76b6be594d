//! Events about servers that weaken a promise or a wait queue.

use std::time::Duration;

use distlock::LockManager;
use test_support::{RedisServer, eventually};
use tracing::Level;

use crate::{SOON, recorder::Recorder, run};

/// Waiters poll for five seconds before the wait queues are tried again.
const POLLING: Duration = Duration::from_secs(15);

/// Waits for a key that is held, for a moment.
async fn wait(locks: &LockManager) {
    locks.lock("k").wait(Duration::from_millis(200)).acquire().await.unwrap_err();
}

#[test]
fn refused_wait_queues_are_reported_and_so_is_their_return() {
    let (recorder, _guard) = Recorder::start();
    let servers = [(); 2].map(|()| RedisServer::start());
    run(async {
        let mut managers = Vec::new();
        for server in &servers {
            let locks = LockManager::connect(server.url()).await.unwrap();
            std::mem::forget(locks.lock("k").acquire().await.unwrap());
            server.command::<()>(&["ACL", "SETUSER", "default", "-zadd"]).await;
            wait(&locks).await;
            managers.push(locks);
        }
        servers[0].command::<()>(&["ACL", "SETUSER", "default", "+zadd"]).await;
        eventually(POLLING, async || {
            wait(&managers[0]).await;
            wait(&managers[1]).await;
            recorder.has("the server has wait queues again")
                && recorder.has("the server still has no wait queues")
        })
        .await;
    });
    let refused = recorder.events("the server has no wait queues for now: waiters poll");
    assert_eq!(refused.len(), 2, "once for each server: {refused:?}");
    assert!(refused.iter().all(|event| event.level == Level::WARN && !event.field("error").is_empty()));
    let [still] = &recorder.events("the server still has no wait queues")[..] else { panic!("one event") };
    assert_eq!((still.level, still.field("again_in")), (Level::DEBUG, "10.0"));
    let [back] = &recorder.events("the server has wait queues again")[..] else { panic!("one event") };
    assert_eq!(back.level, Level::INFO);
}

#[test]
fn a_queue_of_another_version_is_reported_once() {
    let (recorder, _guard) = Recorder::start();
    let server = RedisServer::start();
    run(async {
        let locks = LockManager::connect(server.url()).await.unwrap();
        let held = locks.lock("k").acquire().await.unwrap();
        let waiter = tokio::spawn(locks.lock("k").wait_forever().acquire());
        eventually(SOON, async || server.wait_queue_of("lock:k").await.is_some()).await;
        let queue = server.wait_queue_of("lock:k").await.unwrap();
        server.command::<()>(&["SET", &queue, "other", "KEEPTTL"]).await;
        for _ in 0..2 {
            wait(&LockManager::connect(server.url()).await.unwrap()).await;
        }
        waiter.abort();
        drop(held);
    });
    let unknown = recorder.events(
        "a wait queue has an unknown format, perhaps of another version of distlock: its waiters poll",
    );
    assert!(unknown.len() >= 2, "once for each manager: {unknown:?}");
    assert_eq!((unknown[0].level, unknown[0].field("key")), (Level::WARN, "k"));
}

#[test]
fn a_server_that_weakens_a_promise_is_reported_at_connect() {
    let (recorder, _guard) = Recorder::start();
    let settings = ["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--save", "1 1"];
    let server = RedisServer::start_with(&settings);
    run(async { LockManager::connect(server.url()).await.unwrap() });
    let weak = recorder.events("the server weakens a promise");
    assert!(weak.iter().any(|event| event.field("finding").contains("noeviction")), "{weak:?}");
    assert!(
        weak.iter().all(|event| event.level == Level::WARN && event.field("server").contains("127.0.0.1:"))
    );
}
