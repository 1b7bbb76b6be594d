//! Bad input is refused before anything is sent, and every error says what is wrong, with the key and without secrets.

use std::{error::Error, time::Duration};

use distlock::{KeyFault, LockError, LockManager, Setting};
use test_support::RedisServer;

async fn refused(request: distlock::LockRequest) -> LockError {
    request.acquire().await.expect_err("refused")
}

fn is_an_error_type<T: Error + Clone + Send + Sync + 'static>() {}

#[tokio::test]
async fn keys_have_1_to_4096_bytes() {
    is_an_error_type::<LockError>();
    let locks = LockManager::in_memory();
    let error = refused(locks.lock("")).await;
    assert!(matches!(error, LockError::InvalidKey { reason: KeyFault::Empty, .. }), "{error}");
    assert!(locks.lock("x".repeat(4096)).acquire().await.is_ok());
    let error = refused(locks.lock("x".repeat(4097))).await;
    assert!(matches!(error, LockError::InvalidKey { reason: KeyFault::TooLong(4097), .. }), "{error}");
    assert!(error.to_string().len() < 300, "a key of 1 MB is not printed whole");
    for odd in ["\0", "a\nb", "{", "}}", "\u{1f512}", " "] {
        let guard = locks.lock(odd).acquire().await.unwrap();
        assert_eq!(guard.key(), odd);
    }
}

#[tokio::test]
async fn durations_have_their_ranges() {
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
fn urls_that_are_not_understood_say_which_are() {
    for url in
        ["", "redis", "127.0.0.1:6379", "http://localhost", "redis+unix:///tmp/x", "rediss+x://h", "memory"]
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
fn a_password_is_never_shown() {
    let url = "redis://user:hunter2@localhost/notanumber";
    let error = LockManager::builder().url(url).build().unwrap_err();
    let builder = LockManager::builder().url("redis://user:hunter2@localhost/");
    let shown = format!("{error} {error:?} {builder:?}") + &format!("{:?}", builder.build().unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn no_text_shows_an_owner_token() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url()).await.unwrap();
    let guard = locks.lock("order:42").acquire().await.unwrap();
    let token: String = server.command(&["GET", "lock:order:42"]).await;
    assert_eq!(token.len(), 36);
    let busy = refused(locks.lock("order:42")).await;
    let before = format!("{guard:?} {locks:?} {busy} {busy:?}");
    server.command::<()>(&["SET", "lock:order:42", "somebody else"]).await;
    let lost = guard.renew().await.unwrap_err();
    let after = format!("{guard:?} {lost} {lost:?}");
    for secret in [token.as_str(), &token.replace('-', ""), "somebody else"] {
        assert!(!before.contains(secret) && !after.contains(secret), "{before} {after}");
    }
    assert!(lost.to_string().contains("`order:42` was lost"), "{lost}");
}

#[tokio::test]
async fn errors_name_the_key_and_read_as_sentences() {
    let locks = LockManager::in_memory();
    let guard = locks.lock("order:42").acquire().await.unwrap();
    let busy = refused(locks.lock("order:42")).await;
    let nested = guard.run(async { refused(locks.lock("order:42")).await }).await.unwrap();
    for (error, part) in [(&busy, "busy"), (&nested, "already held by this call chain")] {
        let text = error.to_string();
        assert!(text.contains("`order:42`") && text.contains(part), "{text}");
        assert!(!text.ends_with('.') && text.starts_with(char::is_lowercase), "{text}");
        assert!(!text.contains("lock:order"), "the namespace is the manager's: {text}");
        assert_eq!(error.key(), "order:42");
    }
    let shown = format!("{guard:?}");
    assert!(shown.contains("order:42") && !shown.contains("Owner"), "{shown}");
    let io: std::io::Error = busy.into();
    assert_eq!(io.kind(), std::io::ErrorKind::WouldBlock);
    assert!(io.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<LockError>));
}
