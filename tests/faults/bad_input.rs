//! Bad input is refused before anything is sent.

use std::time::Duration;

use distlock::{KeyFault, LockError, LockManager, LockRequest, MemoryStore, Setting};

/// Makes a call that must fail.
pub(crate) async fn refused(request: LockRequest) -> LockError {
    request.acquire().await.expect_err("the call must fail")
}

#[tokio::test]
async fn keys_have_1_to_4096_bytes() {
    let locks = LockManager::in_memory();
    let error = refused(locks.lock("")).await;
    assert!(matches!(error, LockError::InvalidKey { reason: KeyFault::Empty, .. }), "{error}");
    assert!(locks.lock("x".repeat(4096)).acquire().await.is_ok());
    let error = refused(locks.lock("x".repeat(4097))).await;
    assert!(
        matches!(error, LockError::InvalidKey { reason: KeyFault::TooLong { bytes: 4097, .. }, .. }),
        "{error}"
    );
    assert!(error.to_string().len() < 300, "a key of 1 MB is not printed whole");
    for odd in ["\0", "a\nb", "{", "}}", "\u{1f512}", " "] {
        let guard = locks.lock(odd).acquire().await.unwrap();
        assert_eq!(guard.key(), odd);
    }
}

#[tokio::test]
async fn durations_outside_their_ranges_are_refused() {
    let locks = LockManager::in_memory();
    let tiny = Duration::from_nanos(1);
    for ttl in
        [Duration::ZERO, tiny, Duration::from_millis(9), Duration::from_millis(u64::MAX), Duration::MAX]
    {
        let error = refused(locks.lock("k").ttl(ttl)).await;
        assert!(
            matches!(&error, LockError::InvalidDuration { setting: Setting::Ttl, value, .. } if *value == ttl)
        );
        assert!(error.to_string().contains("`k`") && error.to_string().contains("10ms"), "{error}");
    }
    let error = refused(locks.lock("k").max_hold(Duration::ZERO)).await;
    assert!(matches!(error, LockError::InvalidDuration { setting: Setting::MaxHold, .. }));
    let error =
        refused(locks.lock("k").ttl(Duration::from_secs(1)).at_least(Duration::from_millis(1001))).await;
    assert!(matches!(error, LockError::InvalidDuration { setting: Setting::AtLeast, .. }));
    for huge in [Duration::MAX, Duration::from_secs(u64::MAX)] {
        let request = locks.lock("k").wait(huge).max_hold(huge);
        assert_eq!(request.run(async { 1 }).await.unwrap(), 1);
    }
    assert!(LockManager::builder().url("memory://").ttl(tiny).build().is_err());
}

#[test]
fn an_unknown_url_is_refused_with_the_known_schemes() {
    for url in
        ["", "redis", "127.0.0.1:6379", "http://localhost", "tcp+unix:///tmp/x", "rediss+x://h", "memory"]
    {
        let error = LockManager::builder().url(url).build().unwrap_err();
        assert!(matches!(error, LockError::Config { .. }), "{url}: {error}");
        for known in ["redis://", "rediss://", "memory://"] {
            assert!(error.to_string().contains(known), "{url}: {error}");
        }
    }
    for url in ["redis://", "redis://h:99999/", "redis://[::1", "redis://h/x", "memory://x"] {
        let error = LockManager::builder().url(url).build().unwrap_err();
        assert!(matches!(error, LockError::Config { .. }), "{url}: {error}");
    }
    let error = LockManager::builder().build().unwrap_err();
    assert!(error.to_string().contains(".url(..)"), "{error}");
}

#[test]
fn a_quorum_without_nodes_or_with_a_repeated_node_is_refused() {
    let refused = |url: &str| LockManager::builder().url(url).build().unwrap_err().to_string();
    assert!(refused("redlock://a,a:6379,b").contains("named twice"), "{}", refused("redlock://a,a:6379,b"));
    assert!(refused("redlock://a,,b").contains("URL"), "{}", refused("redlock://a,,b"));
    let none: [MemoryStore; 0] = [];
    assert!(LockManager::quorum(none).unwrap_err().to_string().contains("a quorum of 0 nodes"));
}
