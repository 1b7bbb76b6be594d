//! Locking without the attribute: acquires a guard, looks at its lease, stops work that has lost it, and
//! releases it.
//!
//! ```sh
//! cargo run --example guard
//! DISTLOCK_URL=redis://127.0.0.1/ cargo run --example guard
//! ```

use std::{env, time::Duration};

use distlock::{LockError, LockManager};

#[tokio::main]
async fn main() -> Result<(), LockError> {
    let url = env::var("DISTLOCK_URL").unwrap_or_else(|_| "memory://".to_owned());
    let locks = LockManager::connect(url).await?;

    let guard =
        locks.lock("report:7").ttl(Duration::from_secs(10)).wait(Duration::from_secs(2)).acquire().await?;
    println!("holding `{}`, valid for another {:?}", guard.key(), guard.remaining());

    // A second attempt for the same key. It does not wait.
    match locks.lock("report:7").try_acquire().await? {
        Some(_) => unreachable!("two holders"),
        None => println!("a second attempt gets nothing"),
    }

    // Work that must stop when the lease is lost. Meanwhile the lease is renewed in the background.
    tokio::select! {
        reason = guard.lost() => println!("stop: {reason}"),
        () = tokio::time::sleep(Duration::from_millis(200)) => {
            println!("worked, and still held: {}", guard.is_held());
        }
    }

    // `run` does the same: it drops the body if the lease is lost.
    let lines = guard.run(async { 42 }).await?;
    println!("wrote {lines} lines");

    // A guard that is dropped is released in the background. This call waits until the key is free.
    guard.release().await?;
    println!("released: {}", locks.lock("report:7").try_acquire().await?.is_some());
    Ok(())
}
