//! An attempt that fails gives back the nodes that it was granted.

use std::time::Duration;

use distlock::{Key, LockManager, MemoryStore, OwnerToken, Store};

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_keeps_no_node() {
    let nodes: [MemoryStore; 3] = std::array::from_fn(|_| MemoryStore::new());
    let locks = LockManager::quorum(nodes.clone()).unwrap();
    let (key, other, ttl) = (Key::new("lock", "k").unwrap(), OwnerToken::random(), Duration::from_secs(600));
    for free in 0..3 {
        for (number, node) in nodes.iter().enumerate() {
            if number != free {
                node.acquire(&key, &other, ttl, false).await.unwrap();
            }
        }
        assert!(locks.lock("k").ttl(ttl).try_acquire().await.unwrap().is_none());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(nodes[free].inspect(&key).await.unwrap().is_none(), "node {free}");
        for node in &nodes {
            node.release(&key, &other).await.unwrap();
        }
    }
}
