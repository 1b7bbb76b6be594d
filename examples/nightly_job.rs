//! A job that every replica starts and one of them runs. The others skip it.
//!
//! ```sh
//! DISTLOCK_URL=redis://127.0.0.1/ cargo run --example nightly_job   # in several terminals
//! ```
//! Without `DISTLOCK_URL`, one process plays three replicas.

use std::{env, time::Duration};

use distlock::{LockError, LockManager, distributed_lock};

/// `at_least` keeps the key taken for 30 s even if the job is done sooner, so that a replica whose clock is a
/// little late does not run the job again. `max_hold` stops a job that hangs.
#[distributed_lock(key = "nightly:{date}", ttl = "1m", at_least = "30s", max_hold = "1h", on_busy = skip)]
async fn clean_up(date: &str, replica: u32) -> Result<Option<u32>, LockError> {
    println!("replica {replica}: cleaning up for {date}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(Some(17))
}

async fn night(replica: u32) -> Result<(), LockError> {
    match clean_up("2026-11-23", replica).await? {
        Some(removed) => println!("replica {replica}: removed {removed} rows"),
        None => println!("replica {replica}: skipped, another replica runs the job"),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), LockError> {
    if let Ok(url) = env::var("DISTLOCK_URL") {
        distlock::set_default(LockManager::connect(url).await?);
        return night(std::process::id()).await;
    }
    distlock::set_default(LockManager::in_memory());
    let (one, two, three) = tokio::join!(night(1), night(2), night(3));
    one.and(two).and(three)
}
