//! Scheduled jobs and workers.

use std::{convert::Infallible, time::Duration};

use distlock::{FencingToken, LockError, distributed_lock};

/// Every replica calls this, and one runs it.
#[distributed_lock(key = "nightly-report", ttl = "1m", at_least = "30s", on_busy = skip, on_error = log)]
pub async fn nightly_report() {
    step().await;
}

/// Is skipped while another replica runs it.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "vacuum:{table}", ttl = "10m", max_hold = "1h", on_busy = skip)]
pub async fn vacuum(table: &str) -> Result<(), LockError> {
    step().await;
    Ok(())
}

/// Returns how many rows were moved, or `None` while another replica moves them.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "archive:{year}-{month:02}", on_busy = skip)]
pub async fn archive(year: u16, month: u8) -> Result<Option<u64>, LockError> {
    step().await;
    Ok(Some(u64::from(year) + u64::from(month)))
}

/// Returns an `Option` instead of a `Result`.
#[distributed_lock(key = "warm-cache", on_busy = skip, on_error = log)]
pub async fn warm_cache() -> Option<usize> {
    step().await;
    Some(1)
}

/// Runs for as long as this replica holds the lock, which makes it the leader.
///
/// # Errors
/// The lock is not acquired, or it is lost. There is no other end.
#[distributed_lock(key = "leader", ttl = 10, wait = forever)]
pub async fn lead(beats: &tokio::sync::mpsc::UnboundedSender<u8>) -> Result<Infallible, LockError> {
    loop {
        let _ = beats.send(1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Writes with a fencing token, which the resource checks.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "ledger:{account}", fenced, guard = lock)]
pub async fn post_entry(account: u64, mut write: impl FnMut(Option<FencingToken>)) -> Result<(), LockError> {
    step().await;
    write(lock.fencing_token());
    Ok(())
}

/// Stops by itself when its lease is lost.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "drain:{queue}", on_lost = finish, guard = lock, renew = false, ttl = "500ms")]
pub async fn drain(queue: &str, mut items: Vec<u32>) -> Result<usize, LockError> {
    let mut drained = 0;
    while let (Some(_), true) = (items.pop(), lock.is_held()) {
        step().await;
        drained += 1;
    }
    Ok(drained)
}

/// A body with labels and early returns.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "retry:{job}", wait = wait)]
pub async fn retry(job: &str, attempts: u32, wait: Duration) -> Result<Option<u32>, LockError> {
    'attempts: for attempt in 0..attempts {
        for part in 0..3 {
            step().await;
            if part == attempt {
                continue 'attempts;
            }
            if attempt == 4 {
                return Ok(Some(attempt));
            }
        }
        break 'attempts;
    }
    Ok(None)
}

/// A body that awaits two futures and returns with the first that is ready.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "race")]
pub async fn race(limit: Duration) -> Result<&'static str, LockError> {
    tokio::select! {
        () = step() => Ok("done"),
        () = tokio::time::sleep(limit) => Ok("late"),
    }
}

async fn step() {
    tokio::task::yield_now().await;
}
