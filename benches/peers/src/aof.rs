//! Measures what hand-overs to many waiting processes add to the append-only file.

use std::time::Duration;

use distlock::LockManager;
use test_support::RedisServer;
use tokio::{runtime::Builder, task::JoinSet, time::sleep};

use crate::{
    Outcome,
    table::{Target, print_row},
};

/// Each has connections of its own, as processes have.
const MANAGERS: usize = 500;

/// Prints how many bytes a hand-over takes, from one manager to the next until all had the key.
pub fn rows() -> Outcome<()> {
    let server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "no"]);
    let bytes = Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let held = LockManager::connect(&server.url()).await?.lock("one").acquire().await?;
        let mut waiters = JoinSet::new();
        for _ in 0..MANAGERS {
            let locks = LockManager::connect(&server.url()).await?;
            waiters.spawn(async move { locks.lock("one").wait_forever().acquire().await?.release().await });
        }
        while waiting(&server).await? < MANAGERS {
            sleep(Duration::from_millis(50)).await;
        }
        let before = size(&server).await?;
        held.release().await?;
        while let Some(waiter) = waiters.join_next().await {
            waiter??;
        }
        Outcome::Ok((size(&server).await? - before) as f64 / MANAGERS as f64)
    })?;
    print_row("500 waiting processes: bytes of AOF a hand-over", &[bytes], &[], Target::AtMost(2000.0));
    Ok(())
}

/// Returns how many are in the wait queue.
async fn waiting(server: &RedisServer) -> Outcome<usize> {
    let order = server.keys().await.into_iter().find(|key| key.starts_with("lock:one\u{1f}z"));
    Ok(match order {
        Some(order) => server.command(&["ZCARD", &order]).await,
        None => 0,
    })
}

async fn size(server: &RedisServer) -> Outcome<u64> {
    let info: String = server.command(&["INFO", "persistence"]).await;
    let size = info.lines().find_map(|line| line.strip_prefix("aof_current_size:"));
    Ok(size.ok_or("no size of the file")?.trim().parse()?)
}
