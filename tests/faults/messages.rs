//! Every error says what is wrong, with the key and without secrets.

use std::error::Error;

use distlock::{LockError, LockManager};
use test_support::RedisServer;

use crate::bad_input::refused;

#[test]
fn an_error_is_cloned_sent_and_shared() {
    fn is_an_error_type<T: Error + Clone + Send + Sync + 'static>() {}
    is_an_error_type::<LockError>();
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
    let value: String = server.command(&["GET", "lock:order:42"]).await;
    let (token, label) = value.split_once(' ').unwrap();
    assert!(token.len() == 36 && !label.is_empty(), "{value}");
    let busy = refused(locks.lock("order:42")).await;
    let before = format!("{guard:?} {locks:?} {busy} {busy:?}");
    server.command::<()>(&["SET", "lock:order:42", "another owner"]).await;
    let lost = guard.renew().await.unwrap_err();
    let after = format!("{guard:?} {lost} {lost:?}");
    for secret in [token, &token.replace('-', ""), "another owner"] {
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
        assert!(!text.contains("lock:order"), "the namespace is not shown: {text}");
        assert_eq!(error.key(), "order:42");
    }
    let shown = format!("{guard:?}");
    assert!(shown.contains("order:42") && !shown.contains("Owner"), "{shown}");
    let io: std::io::Error = busy.into();
    assert_eq!(io.kind(), std::io::ErrorKind::WouldBlock);
    assert!(io.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<LockError>));
}
