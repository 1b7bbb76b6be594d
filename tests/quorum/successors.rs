//! An earlier holder leaves the keys of its successor alone.

use distlock::{LockError, LostReason};

use crate::{nodes_with, quorum, servers};

#[tokio::test]
async fn a_late_release_or_renewal_leaves_the_keys_of_another_owner_alone() {
    let servers = servers::<3>();
    let locks = quorum(&servers).connect().await.unwrap();
    for renews in [true, false] {
        let guard = locks.lock("k").acquire().await.unwrap();
        for server in &servers {
            server.command::<()>(&["SET", "lock:k", "another owner"]).await;
        }
        let ended = if renews { guard.renew().await } else { guard.release().await };
        assert!(matches!(ended, Err(LockError::Lost { reason: LostReason::NotOwner, .. })), "{ended:?}");
        // The guard that was renewed is dropped here, and its release is sent in the background.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(nodes_with(&servers, "lock:k").await, 3);
        for server in &servers {
            assert_eq!(server.command::<String>(&["GET", "lock:k"]).await, "another owner");
            assert_eq!(server.command::<i64>(&["PTTL", "lock:k"]).await, -1, "it was not renewed");
            server.command::<u8>(&["DEL", "lock:k"]).await;
        }
    }
}
