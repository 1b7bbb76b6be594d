//! Each setting of the attribute reaches the lock.

use std::time::Duration;

use distlock::{LockError, distributed_lock};
use tokio::time::Instant;

use crate::{AppError, AppResult, with_fresh_manager};

#[distributed_lock(key = "s", ttl = Duration::from_secs(seconds), wait = "50ms", renew = false, max_hold = "1m", at_least = "10ms", fenced, guard = lock)]
async fn settings(seconds: u64) -> AppResult<(Duration, Option<u64>)> {
    Ok((lock.remaining(), lock.fencing_token().map(distlock::FencingToken::value)))
}

#[tokio::test(start_paused = true)]
async fn settings_reach_the_lock() {
    with_fresh_manager(|locks| async move {
        let (remaining, fence) = settings(20).await.unwrap();
        assert_eq!(remaining, Duration::from_secs(20) - Duration::from_millis(202));
        assert!(fence.is_some());
        // `at_least` keeps the key a little longer, and `wait` outlasts that.
        assert!(locks.lock("s").try_acquire().await.unwrap().is_none());
        assert!(settings(20).await.is_ok());
        tokio::time::sleep(Duration::from_millis(11)).await;
        let _other = locks.lock("s").acquire().await.unwrap();
        let start = Instant::now();
        assert!(matches!(settings(20).await, Err(AppError::Lock(_))));
        assert_eq!(start.elapsed(), Duration::from_millis(50));
    })
    .await;
}

#[distributed_lock(key = "forever", wait = forever, fair = false)]
async fn forever() -> AppResult<()> {
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn wait_forever_outlasts_an_hour() {
    with_fresh_manager(|locks| async move {
        let other = locks.lock("forever").acquire().await.unwrap();
        let release = async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            other.release().await.unwrap();
        };
        let (ran, ()) = tokio::join!(forever(), release);
        ran.unwrap();
    })
    .await;
}

#[distributed_lock(key = "hold", max_hold = "2s")]
async fn too_long() -> AppResult<()> {
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

#[distributed_lock(key = "hold", max_hold = "2s", on_lost = finish, guard = lock)]
async fn finishes() -> AppResult<bool> {
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(lock.is_held())
}

#[distributed_lock(key = "hold", max_hold = "2s", on_error = |error| match error { LockError::Lost { .. } => "lost", _ => "other" })]
async fn lost_handled() -> &'static str {
    tokio::time::sleep(Duration::from_secs(60)).await;
    "done"
}

#[tokio::test(start_paused = true)]
async fn max_hold_stops_the_body() {
    with_fresh_manager(|_| async {
        let start = Instant::now();
        assert!(matches!(too_long().await, Err(AppError::Lock(error)) if error.contains("lost")));
        assert!(start.elapsed() < Duration::from_secs(3));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn on_lost_finish_lets_the_body_end() {
    with_fresh_manager(|_| async { assert_eq!(finishes().await, Ok(false)) }).await;
}

#[tokio::test(start_paused = true)]
async fn on_error_gets_the_lost_lease() {
    with_fresh_manager(|_| async { assert_eq!(lost_handled().await, "lost") }).await;
}

#[distributed_lock(key = "order:{id}")]
async fn finds_its_manager(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

#[tokio::test]
async fn without_a_manager_the_error_names_set_default() {
    let error = finds_its_manager(1).await.unwrap_err();
    assert!(matches!(&error, LockError::NoManager { key, .. } if key == "order:1"));
    assert!(error.to_string().contains("set_default"));
}
