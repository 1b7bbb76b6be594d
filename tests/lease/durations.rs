//! `max_hold` and `at_least` bound how long a key is held.

use std::time::Duration;

use distlock::{LockManager, LostReason};
use tokio::time::Instant;

use crate::{A_DAY, lost};

#[tokio::test(start_paused = true)]
async fn max_hold_ends_a_renewed_lease() {
    let locks = LockManager::in_memory();
    let start = Instant::now();
    let request = locks.lock("job").ttl(Duration::from_secs(10)).max_hold(Duration::from_secs(60));
    assert_eq!(lost(A_DAY, request.run(std::future::pending())).await, LostReason::MaxHold);
    assert_eq!(start.elapsed(), Duration::from_secs(60));
    assert!(locks.lock("job").try_acquire().await.unwrap().is_some(), "the key is free");
}

#[tokio::test(start_paused = true)]
async fn at_least_keeps_the_key_without_delaying_the_return() {
    let locks = LockManager::in_memory();
    let start = Instant::now();
    let at_least = Duration::from_secs(5);
    locks.lock("job").ttl(Duration::from_secs(10)).at_least(at_least).run(async {}).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_millis(4_999)).await;
    assert!(locks.lock("job").try_acquire().await.unwrap().is_none());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert!(locks.lock("job").try_acquire().await.unwrap().is_some());
}
