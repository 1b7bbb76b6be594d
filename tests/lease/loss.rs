//! A lost lease ends its body, or is reported to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use distlock::{LockError, LockManager, LostReason, OnLost, distributed_lock};
use test_support::{RedisServer, eventually, in_time};

use crate::{A_DAY, SOON, lost};

/// Sets its flag when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[distributed_lock(key = "job", ttl = "300ms", locks = locks)]
async fn endless(locks: &LockManager, _dropped: Dropped) -> Result<(), LockError> {
    std::future::pending().await
}

#[distributed_lock(key = "job", ttl = "300ms", on_lost = finish, guard = lock, locks = locks)]
async fn finishes(locks: &LockManager) -> Result<LostReason, LockError> {
    Ok(lock.lost().await)
}

#[tokio::test]
async fn a_deleted_key_stops_the_body() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let dropped = Arc::new(AtomicBool::new(false));
    let call = endless(&locks, Dropped(Arc::clone(&dropped)));
    let delete = async {
        eventually(SOON, || async { server.has("lock:job").await }).await;
        server.command::<u8>(&["DEL", "lock:job"]).await;
    };
    let (reason, ()) = tokio::join!(lost(SOON, call), delete);
    assert_eq!(reason, LostReason::NotOwner);
    assert!(dropped.load(Ordering::SeqCst), "the body was dropped before the call returned");
    assert!(!server.has("lock:job").await, "a renewal never creates the key");
}

#[tokio::test]
async fn a_key_with_another_owner_stops_the_body_and_is_left_alone() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let call = endless(&locks, Dropped(Arc::default()));
    let overwrite = async {
        eventually(SOON, || async { server.has("lock:job").await }).await;
        server.command::<()>(&["SET", "lock:job", "another owner"]).await;
    };
    let (reason, ()) = tokio::join!(lost(SOON, call), overwrite);
    assert_eq!(reason, LostReason::NotOwner);
    assert_eq!(server.command::<String>(&["GET", "lock:job"]).await, "another owner");
    assert_eq!(server.command::<i64>(&["PTTL", "lock:job"]).await, -1);
}

#[tokio::test]
async fn on_lost_finish_tells_the_body_of_the_loss() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let delete = async {
        eventually(SOON, || async { server.has("lock:job").await }).await;
        server.command::<u8>(&["DEL", "lock:job"]).await;
    };
    let (result, ()) = tokio::join!(in_time(SOON, finishes(&locks)), delete);
    assert_eq!(result.unwrap(), LostReason::NotOwner);
}

#[tokio::test]
async fn a_body_ends_within_its_validity_if_the_server_stops_answering() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let pause = async {
        eventually(SOON, || async { server.has("lock:job").await }).await;
        server.pause();
    };
    let (reason, ()) = tokio::join!(lost(SOON, endless(&locks, Dropped(Arc::default()))), pause);
    assert_eq!(reason, LostReason::Expired);
    server.resume();
    eventually(SOON, || async { !server.has("lock:job").await }).await;
}

#[tokio::test]
async fn a_body_that_blocks_its_thread_past_the_lease_is_reported_as_lost() {
    let locks = LockManager::in_memory();
    let body = locks.lock("job").ttl(Duration::from_millis(50)).run(async {
        std::thread::sleep(Duration::from_millis(120));
    });
    assert_eq!(lost(A_DAY, body).await, LostReason::Expired);
}

#[tokio::test]
async fn a_body_is_not_polled_after_its_lease() {
    let locks = LockManager::in_memory();
    let polls = AtomicU32::new(0);
    let body = locks.lock("job").ttl(Duration::from_millis(50)).run(async {
        polls.fetch_add(1, Ordering::SeqCst);
        // Blocks the keeper too, so that only the check before the next poll can notice the loss.
        std::thread::sleep(Duration::from_millis(120));
        tokio::task::yield_now().await;
        polls.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(lost(A_DAY, body).await, LostReason::Expired);
    assert_eq!(polls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn on_lost_finish_returns_the_value_of_a_body_that_outlasts_its_lease() {
    let locks = LockManager::in_memory();
    let request = locks.lock("job").ttl(Duration::from_secs(1)).renew(false).on_lost(OnLost::Finish);
    let value = request.run(async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        7
    });
    assert_eq!(value.await.unwrap(), 7);
}
