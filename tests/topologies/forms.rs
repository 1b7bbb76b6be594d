//! Locks, waiting and fencing are the same on an open server, on one with a password, and by TLS, and waiters
//! are told of each release. `./test-versions.sh` runs this on each version; `faults` has the user with few
//! rights.

use distlock::{LockManager, RedisStore};
use distlock_store_tests::{contract, fencing, hand_over};
use test_support::{RedisServer, eventually, in_time};

use crate::{SOON, certificates::Authority, key_is_handed_over};

/// Hands keys over, with and without fencing tokens. The server tells the waiter by a message.
async fn waiters_are_told(server: &RedisServer, one: &LockManager, other: &LockManager) {
    key_is_handed_over(server, one, other).await;
    let first = one.lock("order:42").fenced().acquire().await.unwrap();
    let waiter = tokio::spawn(other.lock("order:42").wait(SOON).fenced().acquire());
    eventually(SOON, async || server.wait_queue_of("lock:order:42").await.is_some()).await;
    let told = server.calls(&["publish"]).await;
    let before = first.fencing_token().unwrap();
    first.release().await.unwrap();
    let next = in_time(SOON, waiter).await.unwrap().unwrap();
    assert!(next.fencing_token().unwrap() > before);
    assert_eq!(server.calls(&["publish"]).await, told + 1);
    next.release().await.unwrap();
}

async fn all_works(server: &RedisServer, url: &str) {
    let open = || RedisStore::open(url).unwrap();
    contract(&open()).await;
    fencing(&open()).await;
    hand_over(&open(), &open()).await;
    let connect = async || LockManager::connect(url).await.unwrap();
    waiters_are_told(server, &connect().await, &connect().await).await;
}

#[tokio::test]
async fn an_open_server_keeps_the_contract() {
    let server = RedisServer::start();
    all_works(&server, &server.url()).await;
}

#[tokio::test]
async fn a_server_with_a_password_keeps_the_contract() {
    let server = RedisServer::start_with(&["--requirepass", "s3cret"]);
    all_works(&server, &server.url().replace("redis://", "redis://:s3cret@")).await;
}

#[tokio::test]
async fn waiters_are_told_of_a_release_by_tls() {
    let authority = Authority::new();
    let tls = authority.server("127.0.0.1");
    let connect =
        async || LockManager::builder().url(tls.url()).tls(authority.client()).connect().await.unwrap();
    waiters_are_told(&tls.server, &connect().await, &connect().await).await;
}
