//! A lease that another process handed over lasts its whole ttl on the server, and a waiter that does not
//! claim it holds up the others for little more than two seconds.

use std::time::Duration;

use distlock::{Acquired, Enqueue, Hint, Key, LostReason, OwnerToken, RedisStore, Store};
use test_support::{Proxy, RedisServer, eventually, in_time};
use tokio::time::{Instant, sleep};

use crate::{SECOND, SOON, gets, manager, queue_has, queue_length, wait_in_queue};

const TTL: Duration = Duration::from_secs(30);

fn key() -> Key {
    Key::new("lock", "k").unwrap()
}

/// Puts a fresh owner into the wait queue of the key, which is held.
async fn joins(store: &RedisStore) -> OwnerToken {
    let owner = OwnerToken::random();
    let busy = asks(store, &owner).await;
    assert!(matches!(busy, Acquired::Busy { .. }), "{busy:?}");
    owner
}

async fn asks(store: &RedisStore, owner: &OwnerToken) -> Acquired {
    let enqueue = Enqueue::new(Instant::now()).contended(true);
    store.acquire_or_enqueue(&key(), owner, TTL, false, enqueue).await.unwrap()
}

async fn remaining(server: &RedisServer) -> Duration {
    Duration::from_millis(server.command::<i64>(&["PTTL", "lock:k"]).await.try_into().unwrap_or(0))
}

/// Hands the key over to an owner that waits at `store` and does not claim it.
async fn hand_over_to_one_that_hangs(server: &RedisServer, store: &RedisStore) -> OwnerToken {
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let hanging = joins(store).await;
    held.release().await.unwrap();
    hanging
}

#[tokio::test]
async fn a_handed_over_lease_has_its_whole_ttl_on_the_server() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let waiter = hand_over_to_one_that_hangs(&server, &store).await;
    assert!(remaining(&server).await > SECOND * 29);
    let Hint::HandedOver(lease) = in_time(SOON, store.hint(&key(), &waiter)).await else {
        panic!("no lease")
    };
    assert_eq!(lease.lasts, TTL);
    assert_eq!(lease.claim_within, Some(SECOND * 2));
    assert!(store.release(&key(), &waiter).await.unwrap());
    assert_eq!(server.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_waiter_that_does_not_claim_its_lease_is_passed_over_after_two_seconds() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let start = Instant::now();
    let hanging = hand_over_to_one_that_hangs(&server, &store).await;
    let waiter = wait_in_queue(&server, &manager(server.url()).await, 1).await;
    let guard = gets(waiter).await;
    assert!((SECOND * 2..SECOND * 3).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert!(!store.confirm_hand_over(&key(), &hanging, TTL).await.unwrap());
    assert!(!store.renew(&key(), &hanging, TTL).await.unwrap());
    assert!(!store.release(&key(), &hanging).await.unwrap());
    guard.release().await.unwrap();
    assert_eq!(server.keys().await, [""; 0]);
}

/// A claim, and a question of the owner, which finds that it holds the key. Memory is full.
#[tokio::test]
async fn a_lease_that_was_claimed_is_not_passed_over() {
    for asks_again in [false, true] {
        let server = RedisServer::start();
        let store = RedisStore::open(&server.url()).unwrap();
        let owner = hand_over_to_one_that_hangs(&server, &store).await;
        let waiter = wait_in_queue(&server, &manager(server.url()).await, 1).await;
        server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
        if asks_again {
            assert_eq!(asks(&store, &owner).await, Acquired::granted(None));
        } else {
            assert!(store.confirm_hand_over(&key(), &owner, TTL).await.unwrap());
        }
        server.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
        sleep(SECOND * 3).await;
        assert!(!waiter.is_finished());
        assert!(store.release(&key(), &owner).await.unwrap());
        gets(waiter).await.release().await.unwrap();
        assert_eq!(server.keys().await, [""; 0]);
    }
}

/// The server stands still while the claim is under way, and reads the next waiter's question first.
#[tokio::test]
async fn one_look_after_the_time_is_over_passes_nobody_over() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let owner = hand_over_to_one_that_hangs(&server, &store).await;
    sleep(SECOND * 2 + SECOND / 10).await;
    let next = joins(&store).await;
    assert!(store.confirm_hand_over(&key(), &owner, TTL).await.unwrap());
    sleep(SECOND / 5).await;
    assert!(matches!(asks(&store, &next).await, Acquired::Busy { .. }));
    assert!(store.release(&key(), &owner).await.unwrap());
    assert!(store.release(&key(), &next).await.unwrap());
    assert_eq!(server.keys().await, [""; 0]);
}

/// Its process answers nothing, and its connection stays open.
#[tokio::test]
async fn a_waiter_that_has_stopped_asking_costs_no_time_at_all() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    joins(&store).await;
    let waiter = wait_in_queue(&server, &manager(server.url()).await, 2).await;
    sleep(SECOND * 4).await;
    let start = Instant::now();
    held.release().await.unwrap();
    gets(waiter).await.release().await.unwrap();
    assert!(start.elapsed() < SECOND / 5, "{:?}", start.elapsed());
    assert_eq!(server.keys().await, [""; 0]);
}

/// No waiter has looked at the queue since the first one fell silent.
#[tokio::test]
async fn a_release_passes_over_a_waiter_that_has_stopped_asking() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let silent = joins(&store).await;
    sleep(SECOND * 2).await;
    let asking = joins(&store).await;
    // Less than the time that a waiter has to claim, which is counted from its question.
    sleep(SECOND * 17 / 10).await;
    held.release().await.unwrap();
    let holder: String = server.command(&["GET", "lock:k"]).await;
    assert_eq!(holder, asking.encode(&mut [0; OwnerToken::MAX_BYTES]));
    assert!(store.release(&key(), &asking).await.unwrap());
    assert!(!store.release(&key(), &silent).await.unwrap());
    assert_eq!(server.keys().await, [""; 0]);
}

/// The release that was to take the waiter out of the queue has failed for good.
#[tokio::test]
async fn a_key_that_is_handed_to_an_unknown_owner_is_passed_on_at_once() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let store = RedisStore::open(&proxy.url()).unwrap();
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let unknown = joins(&store).await;
    assert!(store.inspect(&key()).await.unwrap().is_some());
    proxy.lose_requests();
    assert!(store.release(&key(), &unknown).await.is_err());
    proxy.let_requests_flow(true);
    assert_eq!(queue_length(&server).await, 1);
    held.release().await.unwrap();
    eventually(SECOND / 2, || async { server.keys().await.is_empty() }).await;
}

#[tokio::test]
async fn every_key_of_a_wait_queue_lapses() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    joins(&store).await;
    held.release().await.unwrap();
    assert_eq!(queue_length(&server).await, 0);
    joins(&store).await;
    for key in server.keys().await {
        let ttl: i64 = server.command(&["PTTL", &key]).await;
        assert!((1..=40_000).contains(&ttl), "{key}: {ttl}");
    }
}

/// The server stands still for longer than a waiter has time to claim, right after the hand-over. In the
/// first round the claim may lie unread at the server. In the second one it has been answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stalls_right_after_a_hand_over_costs_nobody_the_lock() {
    for delay in [0, 20] {
        let server = RedisServer::start();
        let (waiting, rival) = (manager(server.url()).await, manager(server.url()).await);
        let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
        let waiter = wait_in_queue(&server, &waiting, 1).await;
        let next = wait_in_queue(&server, &rival, 2).await;
        let release = tokio::spawn(held.release());
        let guard = gets(waiter).await;
        sleep(Duration::from_millis(delay)).await;
        server.pause();
        sleep(SECOND * 3).await;
        server.resume();
        sleep(SECOND * 2).await;
        assert!(guard.is_held() && !next.is_finished());
        release.await.unwrap().unwrap();
        guard.release().await.unwrap();
        gets(next).await.release().await.unwrap();
    }
}

/// The body begins in the very poll that gets the lease, and lets nothing else run in its runtime for longer
/// than a waiter has time to claim.
#[tokio::test]
async fn a_body_that_blocks_its_runtime_right_after_a_hand_over_keeps_the_lock() {
    let server = RedisServer::start();
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let url = server.url();
    let blocking = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let locks = manager(url).await;
            locks.lock("k").wait_forever().run(async { std::thread::sleep(SECOND * 3) }).await
        })
    });
    queue_has(&server, 1).await;
    let next = wait_in_queue(&server, &manager(server.url()).await, 2).await;
    held.release().await.unwrap();
    sleep(SECOND * 11 / 4).await;
    assert!(!next.is_finished(), "the body is still running");
    gets(blocking).await.expect("the lock was not lost");
    gets(next).await.release().await.unwrap();
}

/// The waiter hears of the hand-over, and its claim does not reach the server.
#[tokio::test]
async fn no_two_leases_are_valid_while_a_waiter_is_cut_off_right_after_its_hand_over() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let waiter = wait_in_queue(&server, &manager(proxy.url()).await, 1).await;
    let next = wait_in_queue(&server, &manager(server.url()).await, 2).await;
    proxy.let_requests_flow(false);
    held.release().await.unwrap();
    let guard = gets(waiter).await;
    assert!(guard.is_held());
    proxy.let_replies_flow(false);
    let other = gets(next).await;
    assert!(other.is_held() && !guard.is_held());
    sleep(SECOND * 8).await;
    assert!(other.is_held() && !guard.is_held());
    proxy.let_requests_flow(true);
    proxy.let_replies_flow(true);
    assert_eq!(in_time(SOON, guard.lost()).await, LostReason::NotOwner);
    assert!(other.is_held());
    other.release().await.unwrap();
}
