//! Every way out of a locked call releases its key.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Waker},
    time::Duration,
};

use distlock::{LockError, LockManager, distributed_lock};
use test_support::{RedisServer, eventually};

use crate::{SOON, is_freed, manager};

#[derive(Debug)]
struct Refused;

impl From<LockError> for Refused {
    fn from(_: LockError) -> Self {
        Self
    }
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    EarlyReturn,
    QuestionMark,
    Panic,
    Pending,
}

#[distributed_lock(key = "leak:{id}", locks = locks)]
async fn body(locks: &LockManager, id: u8, ending: Ending) -> Result<u8, Refused> {
    tokio::task::yield_now().await;
    match ending {
        Ending::EarlyReturn => return Ok(id),
        Ending::QuestionMark => Err(Refused)?,
        Ending::Panic => panic!("the body panics on purpose"),
        Ending::Pending => pending().await,
    }
    Ok(0)
}

#[tokio::test]
async fn an_early_return_and_a_question_mark_release_the_key_before_the_call_returns() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    body(&locks, 1, Ending::EarlyReturn).await.unwrap();
    assert_eq!(server.keys().await, [""; 0], "free when the call returns");
    body(&locks, 1, Ending::QuestionMark).await.unwrap_err();
    assert_eq!(server.keys().await, [""; 0], "free when the call returns");
}

#[tokio::test]
async fn a_panic_releases_the_key() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let call = tokio::spawn(async move { body(&locks, 1, Ending::Panic).await });
    assert!(call.await.unwrap_err().is_panic());
    is_freed(&server).await;
}

#[tokio::test]
async fn a_timeout_around_the_call_releases_the_key() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let call = tokio::time::timeout(Duration::from_millis(50), body(&locks, 1, Ending::Pending));
    assert!(call.await.is_err());
    is_freed(&server).await;
}

#[tokio::test]
async fn an_aborted_task_releases_the_key() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let call = tokio::spawn(async move { body(&locks, 1, Ending::Pending).await });
    eventually(SOON, || async { server.has("lock:leak:1").await }).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    is_freed(&server).await;
}

#[tokio::test]
async fn a_future_that_is_never_polled_acquires_nothing() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let sent = async || server.calls(&["set", "evalsha", "eval"]).await;
    let before = sent().await;
    drop(body(&locks, 1, Ending::Pending));
    drop(locks.lock("k").acquire());
    drop(locks.lock("k").run(async {}));
    assert_eq!(sent().await, before);
}

#[tokio::test]
async fn a_guard_dropped_outside_a_runtime_releases_the_key() {
    let server = RedisServer::start();
    let guard = manager(server.url()).await.lock("k").acquire().await.unwrap();
    std::thread::spawn(move || drop(guard)).join().unwrap();
    is_freed(&server).await;
}

/// The future is dropped after each number of polls in turn: at each of its awaits, even while a reply is
/// outstanding.
#[tokio::test]
async fn a_call_dropped_at_any_await_releases_the_key() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    // With an open connection, each poll goes from one await to the next.
    locks.lock("warm").run(async {}).await.unwrap();
    let mut finished = false;
    let mut polls = 0;
    while !finished {
        let was_inside = AtomicBool::new(false);
        {
            let mut call = pin!(locks.lock("k").run(async {
                was_inside.store(true, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }));
            for _ in 0..=polls {
                finished = call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                if finished {
                    break;
                }
                // Gives the connection and the keeper time for their work.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        is_freed(&server).await;
        assert!(!finished || was_inside.load(Ordering::Relaxed));
        polls += 1;
    }
    assert!(polls >= 3, "one await to acquire, one in the body, one to release; there were {polls}");
    assert_eq!(locks.failed_releases(), 0);
}
