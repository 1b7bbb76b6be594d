//! A release hands the key to the first waiter of the server's wait queue, and no waiter delays the others
//! for long.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use distlock::{LockError, LockManager};
use test_support::{Proxy, RedisServer, eventually, in_time};
use tokio::{sync::oneshot, time::sleep};

use crate::{SOON, gets, manager, queue_has, queue_length, scripts, wait_for, wait_in_queue};

#[tokio::test]
async fn a_release_hands_the_key_over_without_a_request_of_the_waiter() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let (holder, waiting) = (manager(server.url()).await, manager(proxy.url()).await);
    let held = holder.lock("k").acquire().await.unwrap();
    let waiter = wait_in_queue(&server, &waiting, 1).await;
    // From now on the waiter can receive, and cannot send.
    proxy.let_requests_flow(false);
    held.release().await.unwrap();
    let guard = gets(waiter).await;
    assert!(guard.is_held());
    assert_eq!(queue_length(&server).await, 0);
    proxy.let_requests_flow(true);
    guard.release().await.unwrap();
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn a_handed_over_lease_is_renewed_to_its_whole_ttl() {
    let server = RedisServer::start();
    let (holder, waiting) = (manager(server.url()).await, manager(server.url()).await);
    for renew in [true, false] {
        let held = holder.lock("k").acquire().await.unwrap();
        let waiter = wait_for(waiting.lock("k").renew(renew));
        queue_has(&server, 1).await;
        held.release().await.unwrap();
        let guard = gets(waiter).await;
        eventually(SOON, || async { server.command::<i64>(&["PTTL", "lock:k"]).await > 20_000 }).await;
        assert!(guard.remaining() > Duration::from_secs(20));
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_waiter_that_leaves_is_skipped_and_leaves_nothing_behind() {
    let server = RedisServer::start();
    let (holder, leaver, waiting) =
        (manager(server.url()).await, manager(server.url()).await, manager(server.url()).await);
    for gap in 0..30 {
        let held = holder.lock("k").wait(SOON).acquire().await.unwrap();
        let first = wait_in_queue(&server, &leaver, 1).await;
        let second = wait_in_queue(&server, &waiting, 2).await;
        // Before or after the key is handed over to it.
        first.abort();
        sleep(Duration::from_micros(gap * 20)).await;
        held.release().await.unwrap();
        gets(second).await.release().await.unwrap();
    }
    let held = holder.lock("k").wait(SOON).acquire().await.unwrap();
    let busy = leaver.lock("k").wait(Duration::from_millis(100)).acquire().await;
    assert!(matches!(busy, Err(LockError::Busy { .. })), "{busy:?}");
    queue_has(&server, 0).await;
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
    queue_has(&server, 1).await;
    let waiter = wait_in_queue(&server, &manager(proxy.url()).await, 2).await;
    // The other waiter can receive, and cannot send: it would remove the entry.
    proxy.let_requests_flow(false);
    runtime.shutdown_background();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(queue_length(&server).await, 2, "the entry of the dead process is still there");
    held.release().await.unwrap();
    drop(gets(waiter).await);
}

/// A monitoring program listens to every channel.
#[tokio::test]
async fn dead_waiters_cost_no_time_while_a_client_listens_to_all_channels() {
    let server = RedisServer::start();
    let client = redis::Client::open(format!("{}?protocol=resp3", server.url())).unwrap();
    let config = redis::AsyncConnectionConfig::new().set_push_sender(|_| Ok::<_, ()>(()));
    let mut monitor = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    monitor.psubscribe("*").await.unwrap();
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for waiters in 1..=3 {
        let url = server.url();
        runtime.spawn(async { manager(url).await.lock("k").wait_forever().acquire().await });
        queue_has(&server, waiters).await;
    }
    let waiter = wait_in_queue(&server, &manager(server.url()).await, 4).await;
    runtime.shutdown_background();
    sleep(Duration::from_millis(50)).await;
    held.release().await.unwrap();
    in_time(SOON / 5, waiter).await.unwrap().release().await.unwrap();
}

/// The first waiter hangs: another gets the key. When the first one reads its hand-over at last, that is too
/// old to be used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_hangs_delays_the_others_only_briefly() {
    let server = Arc::new(RedisServer::start());
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let (stop, stopped) = mpsc::channel::<()>();
    let (hang, hangs) = oneshot::channel();
    let its_server = Arc::clone(&server);
    let hanging = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let waiter = wait_for(manager(its_server.url()).await.lock("k"));
            queue_has(&its_server, 1).await;
            // Blocks the only thread of the runtime.
            hang.send(()).unwrap();
            let _ = stopped.recv();
            waiter.await.unwrap().release().await.unwrap();
            Instant::now()
        })
    });
    hangs.await.unwrap();
    let waiter = wait_in_queue(&server, &manager(server.url()).await, 2).await;
    held.release().await.unwrap();
    let guard = gets(waiter).await;
    drop(stop);
    sleep(Duration::from_millis(300)).await;
    assert!(guard.is_held());
    let ended = Instant::now();
    guard.release().await.unwrap();
    let other = tokio::task::spawn_blocking(move || hanging.join().unwrap());
    assert!(gets(other).await > ended, "two holders");
}

#[tokio::test]
async fn a_waiter_whose_connection_broke_joins_the_queue_again() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let waiter = wait_in_queue(&server, &manager(proxy.url()).await, 1).await;
    proxy.cut();
    sleep(Duration::from_millis(100)).await;
    held.release().await.unwrap();
    drop(gets(waiter).await);
}

#[tokio::test]
async fn a_key_that_another_client_holds_is_waited_for() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    for lapses in [false, true] {
        server
            .command::<()>(&["SET", "lock:k", "theirs", "PX", if lapses { "1000" } else { "600000" }])
            .await;
        let waiter = wait_in_queue(&server, &locks, 1).await;
        if !lapses {
            server.command::<u8>(&["DEL", "lock:k"]).await;
        }
        gets(waiter).await.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_deleted_key_wakes_its_waiters() {
    let server = RedisServer::start();
    let (holder, locks) = (manager(server.url()).await, manager(server.url()).await);
    let _held = holder.lock("k").acquire().await.unwrap();
    // A connection is checked by a script, too.
    let before = scripts(&server).await;
    let waiter = wait_in_queue(&server, &locks, 1).await;
    // From the sixth attempt on, a pause of at least a second follows each one.
    eventually(SOON, || async { scripts(&server).await >= before + 7 }).await;
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
        let waiter = wait_for(locks.lock("k").fenced());
        queue_has(&server, 1).await;
        let before = held.fencing_token().expect("the lock is fenced");
        held.release().await.unwrap();
        held = gets(waiter).await;
        assert!(held.fencing_token().expect("the lock is fenced") > before);
    }
}

#[tokio::test]
async fn waiters_poll_a_server_that_cannot_hand_over() {
    let no_hello = RedisServer::start_with(&["--rename-command", "HELLO", "\"\""]);
    let no_messages = RedisServer::start();
    no_messages.command::<()>(&["ACL", "SETUSER", "default", "-subscribe"]).await;
    let no_lists = RedisServer::start();
    no_lists.command::<()>(&["ACL", "SETUSER", "default", "-mget"]).await;
    let no_counts = RedisServer::start();
    no_counts.command::<()>(&["ACL", "SETUSER", "default", "-pubsub"]).await;
    for server in [no_hello, no_messages, no_lists, no_counts] {
        let (holder, waiting) = (manager(server.url()).await, manager(server.url()).await);
        let held = holder.lock("k").acquire().await.unwrap();
        let waiter = wait_for(waiting.lock("k"));
        sleep(Duration::from_millis(100)).await;
        held.release().await.unwrap();
        gets(waiter).await.release().await.unwrap();
        assert!(server.keys().await.is_empty());
    }
}

#[tokio::test]
async fn a_release_hands_its_key_to_no_waiter_of_another_key() {
    let server = RedisServer::start();
    let bare = async || LockManager::builder().url(server.url()).namespace("").connect().await.unwrap();
    let (holder, waiting) = (bare().await, bare().await);
    let (one, other) =
        (holder.lock("k").acquire().await.unwrap(), holder.lock("{k}").acquire().await.unwrap());
    let mut waiter = wait_for(waiting.lock("{k}"));
    eventually(SOON, || async { server.keys().await.iter().any(|key| key.starts_with("{k}\u{1f}")) }).await;
    one.release().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiter).await;
    assert!(early.is_err(), "the release of `k` wakes no waiter of `{{k}}`");
    assert!(!server.has("k").await);
    other.release().await.unwrap();
    gets(waiter).await.release().await.unwrap();
}

/// An administrator changes the access rules in two steps.
#[tokio::test]
async fn wait_queues_are_used_again_some_time_after_a_refusal() {
    let server = RedisServer::start();
    let (holder, waiting) = (manager(server.url()).await, manager(server.url()).await);
    server.command::<()>(&["ACL", "SETUSER", "default", "-subscribe"]).await;
    let held = holder.lock("k").acquire().await.unwrap();
    let waiter = wait_for(waiting.lock("k"));
    sleep(Duration::from_millis(300)).await;
    assert_eq!(queue_length(&server).await, 0, "the waiter polls");
    server.command::<()>(&["ACL", "SETUSER", "default", "+subscribe"]).await;
    eventually(Duration::from_secs(9), || async { queue_length(&server).await == 1 }).await;
    held.release().await.unwrap();
    gets(waiter).await.release().await.unwrap();
}

/// The deadline comes while a new connection is being made.
#[tokio::test]
async fn a_waiter_that_gives_up_during_an_outage_leaves_the_queue_after_it() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let _held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let locks = manager(proxy.url()).await;
    let waiter = tokio::spawn(locks.lock("k").wait(Duration::from_millis(600)).acquire());
    queue_has(&server, 1).await;
    proxy.let_replies_flow(false);
    proxy.cut();
    assert!(waiter.await.unwrap().is_err());
    assert_eq!(queue_length(&server).await, 1);
    // The keeper's connection attempt ends without an answer.
    sleep(Duration::from_millis(1500)).await;
    proxy.let_replies_flow(true);
    eventually(Duration::from_secs(3), || async { queue_length(&server).await == 0 }).await;
}
