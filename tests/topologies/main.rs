//! Every way to reach a server leads to the same locks: TLS with certificates of the user's own, Unix
//! sockets, and clients and connections that the user made.

use std::{
    process::id,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use distlock::{LockGuard, LockManager};
use test_support::{RedisServer, eventually, in_time};
use tokio::task::JoinHandle;

mod certificates;
mod clusters;
mod credentials;
mod forms;
mod own_clients;
mod sentinels;
mod sockets;
mod tls;

const SOON: Duration = Duration::from_secs(10);

/// Starts a task that waits for the key `k` for a minute, and waits until its entry is in the server's wait
/// queue.
async fn wait_in_queue(server: &RedisServer, locks: &LockManager) -> JoinHandle<LockGuard> {
    let acquire = locks.lock("k").wait(Duration::from_secs(60)).acquire();
    let waiter = tokio::spawn(async { acquire.await.expect("a grant") });
    eventually(SOON, async || server.wait_queue_of("lock:k").await.is_some()).await;
    waiter
}

/// Hands the key `k` over from one manager to a waiter of the other, which is in the server's wait queue.
async fn key_is_handed_over(server: &RedisServer, one: &LockManager, other: &LockManager) {
    let holder = one.lock("k").acquire().await.unwrap();
    let waiter = wait_in_queue(server, other).await;
    holder.release().await.unwrap();
    let next = in_time(SOON, waiter).await.unwrap();
    assert!(next.is_held());
    assert!(server.has("lock:k").await);
    next.release().await.unwrap();
    assert!(!server.has("lock:k").await);
}

/// Returns how many of the server's clients have these letters in their flags.
async fn clients(server: &RedisServer, flags: &[char]) -> usize {
    let clients: String = server.command(&["CLIENT", "LIST"]).await;
    let has = |client: &&str| {
        let of_client = client.split("flags=").nth(1).and_then(|rest| rest.split(' ').next());
        of_client.is_some_and(|of_client| flags.iter().all(|flag| of_client.contains(*flag)))
    };
    clients.lines().filter(has).count()
}

/// A directory for a test's files, which is removed at the end.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("distlock-topologies-{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file, and returns its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
