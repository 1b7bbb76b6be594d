//! What a hand-over costs in the append-only file, by the length of the queue.

use distlock::{Acquired, Enqueue, Key, OwnerToken, RedisStore, Store};
use test_support::RedisServer;
use tokio::time::Instant;

use crate::SECOND;

/// The bytes that one hand-over with its claim adds to the server's append-only file while this many others
/// wait.
async fn bytes_per_hand_over(waiting: usize) -> u64 {
    const EACH: u32 = 50;
    let server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "no"]);
    let store = RedisStore::open(&server.url()).unwrap();
    let key = Key::new("lock", "k").unwrap();
    let ttl = SECOND * 30;
    let mut owners: Vec<_> = (0..=waiting).map(|_| OwnerToken::random()).collect();
    for owner in &owners {
        let enqueue = Enqueue::new(Instant::now()).contended(true);
        store.acquire_or_enqueue(&key, owner, ttl, false, enqueue).await.unwrap();
    }
    let mut written = 0;
    for _ in 0..EACH {
        let holder = owners.remove(0);
        let before = size(&server).await;
        assert!(store.release(&key, &holder).await.unwrap());
        assert!(store.confirm_hand_over(&key, &owners[0], ttl).await.unwrap());
        written += size(&server).await - before;
        let enqueue = Enqueue::new(Instant::now()).contended(true);
        let busy = store.acquire_or_enqueue(&key, &holder, ttl, false, enqueue).await.unwrap();
        assert!(matches!(busy, Acquired::Busy { .. }));
        owners.push(holder);
    }
    written / u64::from(EACH)
}

async fn size(server: &RedisServer) -> u64 {
    let info: String = server.command(&["INFO", "persistence"]).await;
    let size = info.lines().find_map(|line| line.strip_prefix("aof_current_size:"));
    size.and_then(|size| size.trim().parse().ok()).expect("the size of the file")
}

#[tokio::test]
async fn a_hand_over_writes_as_much_behind_five_hundred_waiters_as_behind_ten() {
    let mut bytes = Vec::new();
    for waiting in [1, 10, 100, 500] {
        bytes.push(bytes_per_hand_over(waiting).await);
    }
    println!("bytes per hand-over and claim behind 1, 10, 100 and 500 waiters: {bytes:?}");
    assert!(bytes[3] <= bytes[1] * 5 / 4 && bytes[3] < 1500, "{bytes:?}");
}
