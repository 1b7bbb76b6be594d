//! A release hands the key to whoever is first in line, in whatever process; and nobody in the line can hold the others up.

use std::{
    future::Future,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use common::{RedisServer, eventually, in_time, proxy::Proxy};
use distlock::{LockError, LockGuard, LockManager};
use tokio::{sync::oneshot, task::JoinHandle};

mod common;

const SOON: Duration = Duration::from_secs(5);
const LINE: &str = "lock:k\u{1f}qBKK@";

async fn manager(url: String) -> LockManager {
    LockManager::connect(url).await.unwrap()
}

/// Comes to stand in the line, as the one of that number.
async fn stands(server: &RedisServer, locks: &LockManager, number: usize) -> JoinHandle<LockGuard> {
    let acquire = locks.lock("k").wait_forever().acquire();
    let waiter = tokio::spawn(async { acquire.await.expect("it waits forever") });
    eventually(SOON, || async { in_line(server).await == number }).await;
    waiter
}

async fn in_line(server: &RedisServer) -> usize {
    server.command::<Option<String>>(&["GET", LINE]).await.map_or(0, |line| line.lines().count() - 1)
}

async fn gets<T>(waiter: impl Future<Output = Result<T, tokio::task::JoinError>>) -> T {
    in_time(SOON, waiter).await.unwrap()
}

#[tokio::test]
async fn a_release_hands_the_key_over_without_a_question() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let (holder, waiting) = (manager(server.url()).await, manager(proxy.url()).await);
    let held = holder.lock("k").acquire().await.unwrap();
    let waiter = stands(&server, &waiting, 1).await;
    // From here on it can only listen.
    proxy.let_requests_flow(false);
    held.release().await.unwrap();
    let guard = gets(waiter).await;
    assert!(guard.is_held());
    assert_eq!(in_line(&server).await, 0);
    proxy.let_requests_flow(true);
    guard.release().await.unwrap();
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn a_lease_that_was_handed_over_is_claimed_for_its_whole_ttl() {
    let server = RedisServer::start();
    let (holder, waiting) = (manager(server.url()).await, manager(server.url()).await);
    for renew in [true, false] {
        let held = holder.lock("k").acquire().await.unwrap();
        let acquire = waiting.lock("k").renew(renew).wait_forever().acquire();
        let waiter = tokio::spawn(acquire);
        eventually(SOON, || async { in_line(&server).await == 1 }).await;
        held.release().await.unwrap();
        let guard = gets(waiter).await.unwrap();
        eventually(SOON, || async { server.command::<i64>(&["PTTL", "lock:k"]).await > 20_000 }).await;
        assert!(guard.remaining() > Duration::from_secs(20));
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn processes_are_served_in_the_order_of_their_coming() {
    let server = RedisServer::start();
    let mut held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let mut waiters = Vec::new();
    for number in 1..=5 {
        waiters.push(stands(&server, &manager(server.url()).await, number).await);
    }
    for waiter in waiters {
        held.release().await.unwrap();
        held = gets(waiter).await;
    }
}

#[tokio::test]
async fn a_waiter_that_leaves_is_skipped_and_leaves_nothing() {
    let server = RedisServer::start();
    let (holder, leaver, waiting) =
        (manager(server.url()).await, manager(server.url()).await, manager(server.url()).await);
    for gap in 0..30 {
        let held = holder.lock("k").wait(SOON).acquire().await.unwrap();
        let first = stands(&server, &leaver, 1).await;
        let second = stands(&server, &waiting, 2).await;
        // Sooner or later than the key is handed over to it.
        first.abort();
        tokio::time::sleep(Duration::from_micros(gap * 20)).await;
        held.release().await.unwrap();
        gets(second).await.release().await.unwrap();
    }
    let held = holder.lock("k").wait(SOON).acquire().await.unwrap();
    let busy = leaver.lock("k").wait(Duration::from_millis(100)).acquire().await;
    assert!(matches!(busy, Err(LockError::Busy { .. })), "{busy:?}");
    eventually(SOON, || async { in_line(&server).await == 0 }).await;
    held.release().await.unwrap();
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
}

#[tokio::test]
async fn a_waiter_whose_process_died_is_skipped() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = server.url();
    runtime.spawn(async { manager(url).await.lock("k").wait_forever().acquire().await });
    eventually(SOON, || async { in_line(&server).await == 1 }).await;
    let waiter = stands(&server, &manager(proxy.url()).await, 2).await;
    runtime.shutdown_background();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(in_line(&server).await, 2, "nobody has taken the dead one's entry away");
    // It can only listen.
    proxy.let_requests_flow(false);
    held.release().await.unwrap();
    drop(gets(waiter).await);
}

/// The first in line stands still: others get in, and the news, when it comes to read it, is too old to be believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_hangs_holds_the_others_up_for_a_moment_only() {
    let server = Arc::new(RedisServer::start());
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let (hang, hangs) = oneshot::channel();
    let its_server = Arc::clone(&server);
    let hanging = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let waiter = tokio::spawn(manager(its_server.url()).await.lock("k").wait_forever().acquire());
            eventually(SOON, || async { in_line(&its_server).await == 1 }).await;
            // The whole runtime stands still.
            hang.send(()).unwrap();
            let _ = stopped.recv();
            waiter.await.unwrap().unwrap().release().await.unwrap();
            Instant::now()
        })
    });
    hangs.await.unwrap();
    let waiter = stands(&server, &manager(server.url()).await, 2).await;
    held.release().await.unwrap();
    let guard = gets(waiter).await;
    drop(stop);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(guard.is_held());
    let ended = Instant::now();
    guard.release().await.unwrap();
    let other = tokio::task::spawn_blocking(move || hanging.join().unwrap());
    assert!(gets(other).await > ended, "two had the key");
}

#[tokio::test]
async fn a_waiter_whose_connection_broke_stands_in_line_again() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let waiter = stands(&server, &manager(proxy.url()).await, 1).await;
    proxy.cut();
    tokio::time::sleep(Duration::from_millis(100)).await;
    held.release().await.unwrap();
    drop(gets(waiter).await);
}

#[tokio::test]
async fn holders_that_know_nothing_of_lines_are_waited_for() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    for lapses in [false, true] {
        server
            .command::<()>(&["SET", "lock:k", "theirs", "PX", if lapses { "1000" } else { "600000" }])
            .await;
        let waiter = stands(&server, &locks, 1).await;
        if !lapses {
            server.command::<u8>(&["DEL", "lock:k"]).await;
        }
        gets(waiter).await.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_key_that_is_deleted_wakes_its_waiters() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    server.command::<()>(&["SET", "lock:k", "theirs", "PX", "600000"]).await;
    let waiter = stands(&server, &locks, 1).await;
    // From the sixth question to the seventh is a second, at the least.
    eventually(SOON, || async { server.calls(&["evalsha", "eval"]).await >= 6 }).await;
    server.command::<u8>(&["DEL", "lock:k"]).await;
    let guard = in_time(Duration::from_millis(700), waiter).await.unwrap();
    guard.release().await.unwrap();
}

#[tokio::test]
async fn fencing_tokens_rise_over_hand_overs() {
    let server = RedisServer::start();
    let mut held = manager(server.url()).await.lock("k").fenced().acquire().await.unwrap();
    for _ in 0..3 {
        let locks = manager(server.url()).await;
        let waiter = tokio::spawn(locks.lock("k").fenced().wait_forever().acquire());
        eventually(SOON, || async { in_line(&server).await == 1 }).await;
        let before = held.fencing_token().expect("asked for");
        held.release().await.unwrap();
        held = gets(waiter).await.unwrap();
        assert!(held.fencing_token().expect("asked for") > before);
    }
}

#[tokio::test]
async fn without_lines_waiting_is_polling() {
    let no_hello = RedisServer::start_with(&["--rename-command", "HELLO", "\"\""]);
    let no_messages = RedisServer::start();
    no_messages.command::<()>(&["ACL", "SETUSER", "default", "-subscribe"]).await;
    let no_lists = RedisServer::start();
    no_lists.command::<()>(&["ACL", "SETUSER", "default", "-mget"]).await;
    for server in [no_hello, no_messages, no_lists] {
        let (holder, waiting) = (manager(server.url()).await, manager(server.url()).await);
        let held = holder.lock("k").acquire().await.unwrap();
        let waiter = tokio::spawn(waiting.lock("k").wait_forever().acquire());
        tokio::time::sleep(Duration::from_millis(100)).await;
        held.release().await.unwrap();
        gets(waiter).await.unwrap().release().await.unwrap();
        assert!(server.keys().await.is_empty());
    }
}

#[tokio::test]
async fn nobody_pays_for_lines_who_does_not_wait() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    for _ in 0..10 {
        locks.lock("k").wait(SOON).acquire().await.unwrap().release().await.unwrap();
    }
    assert_eq!(server.calls(&["publish", "subscribe", "hello"]).await, 0);
}

/// Four processes' worth of tasks that all want one key.
#[tokio::test]
async fn a_contended_acquisition_takes_about_one_command() {
    const EACH: u64 = 100;
    let server = RedisServer::start();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let locks = manager(server.url()).await;
        for _ in 0..4 {
            let locks = locks.clone();
            tasks.spawn(async move {
                for _ in 0..EACH {
                    let guard = locks.lock("k").wait_forever().acquire().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    guard.release().await.unwrap();
                }
            });
        }
    }
    in_time(SOON * 4, tasks.join_all()).await;
    // The release of the one before, in whatever process; now and then somebody comes while nobody of his is there, or looks in vain.
    let scripts = server.calls(&["evalsha", "eval"]).await;
    assert!(scripts <= 16 * EACH * 115 / 100, "{scripts} scripts for {} acquisitions", 16 * EACH);
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn ten_thousand_that_wait_ask_about_once_a_second() {
    let server = RedisServer::start();
    let (holder, waiting) = (manager(server.url()).await, manager(server.url()).await);
    let _held = holder.lock("k").acquire().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..10_000 {
        tasks.spawn(waiting.lock("k").wait_forever().acquire());
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    // 64, 128, .. 1,200 ms apart, less up to 15 %.
    let asked = server.calls(&["evalsha", "eval"]).await;
    assert!((1..12).contains(&asked), "{asked} questions in 3 s");
    tasks.shutdown().await;
}

#[tokio::test]
async fn a_key_is_handed_over_to_no_waiter_for_another() {
    let server = RedisServer::start();
    let bare = async || LockManager::builder().url(server.url()).namespace("").connect().await.unwrap();
    let (holder, waiting) = (bare().await, bare().await);
    let (one, other) =
        (holder.lock("k").acquire().await.unwrap(), holder.lock("{k}").acquire().await.unwrap());
    let mut waiter = tokio::spawn(waiting.lock("{k}").wait_forever().acquire());
    eventually(SOON, || async { server.keys().await.len() == 3 }).await;
    one.release().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiter).await;
    assert!(early.is_err(), "the release of `k` is nothing to who waits for `{{k}}`");
    assert!(!server.has("k").await);
    other.release().await.unwrap();
    gets(waiter).await.unwrap().release().await.unwrap();
}
