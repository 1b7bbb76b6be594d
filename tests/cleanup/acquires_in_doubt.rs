//! An acquire whose outcome its caller never learns is released, whenever the server executes it.

use std::{pin::pin, time::Duration};

use distlock::{LockError, LockManager};
use test_support::{Proxy, RedisServer, eventually};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{SOON, TTL, is_freed, manager, poll_once};

#[tokio::test]
async fn a_call_dropped_before_the_reply_to_its_acquire_releases_the_key() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = manager(proxy.url()).await;
    for wait in [Duration::ZERO, Duration::from_secs(60)] {
        proxy.let_replies_flow(false);
        {
            let mut call = pin!(locks.lock("k").wait(wait).acquire());
            assert!(poll_once(call.as_mut()).await.is_pending());
            eventually(SOON, || async { server.has("lock:k").await }).await;
        }
        proxy.let_replies_flow(true);
        is_freed(&server).await;
    }
}

#[tokio::test]
async fn an_acquire_that_arrives_after_its_call_was_dropped_is_released() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = manager(proxy.url()).await;
    let before = server.calls(&["set"]).await;
    proxy.let_requests_flow(false);
    {
        let mut call = pin!(locks.lock("k").acquire());
        assert!(poll_once(call.as_mut()).await.is_pending());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.calls(&["set"]).await, before);
    proxy.let_requests_flow(true);
    eventually(SOON, || async { server.calls(&["set"]).await == before + 1 }).await;
    is_freed(&server).await;
}

#[tokio::test]
async fn an_acquire_whose_reply_was_lost_after_its_call_was_dropped_is_released() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = manager(proxy.url()).await;
    proxy.let_replies_flow(false);
    {
        let mut call = pin!(locks.lock("k").acquire());
        assert!(poll_once(call.as_mut()).await.is_pending());
        eventually(SOON, || async { server.has("lock:k").await }).await;
        proxy.cut();
    }
    proxy.let_replies_flow(true);
    is_freed(&server).await;
}

/// The reply is lost while the caller waits. The acquire is sent again, and its validity counts from the
/// first time.
#[tokio::test]
async fn a_repeated_acquire_recognises_its_own_token() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::builder().url(proxy.url()).ttl(Duration::from_secs(3)).connect().await.unwrap();
    proxy.let_replies_flow(false);
    let call = tokio::spawn(locks.lock("k").acquire());
    eventually(SOON, || async { server.has("lock:k").await }).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.let_replies_flow(true);
    proxy.cut();
    let guard = call.await.unwrap().expect("the key has the token of this call");
    let validity = guard.remaining();
    let remaining = Duration::from_millis(server.command(&["PTTL", "lock:k"]).await);
    assert!(
        guard.is_held() && validity < remaining,
        "a validity of {validity:?}, and {remaining:?} on the server"
    );
    guard.release().await.unwrap();
    is_freed(&server).await;
}

#[tokio::test]
async fn an_acquire_executed_after_the_client_gave_up_is_released() {
    let server = RedisServer::start();
    let builder =
        LockManager::builder().url(server.url()).ttl(TTL).response_timeout(Duration::from_millis(200));
    let locks = builder.connect().await.unwrap();
    let before = server.calls(&["set"]).await;
    server.pause();
    let error = locks.lock("k").acquire().await.unwrap_err();
    assert!(matches!(error, LockError::Store { .. }), "{error}");
    server.resume();
    // The late SET and the clean-up are both on their way. The key must be free after both.
    eventually(SOON, || async { server.calls(&["set"]).await > before }).await;
    is_freed(&server).await;
}

/// The worst order: an acquire is in the buffers of a broken connection when its call is dropped or gives up.
/// Its release, sent over a new connection, finds nothing to release. Then the server executes the acquire.
#[tokio::test]
async fn an_acquire_executed_after_its_releases_is_released_again() {
    for gives_up in [true, false] {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.port()).await;
        let timeout = if gives_up { Duration::from_millis(100) } else { SOON };
        let builder = LockManager::builder().url(proxy.url()).ttl(TTL).response_timeout(timeout);
        let locks = builder.connect().await.unwrap();
        let (gets, sets) = (server.calls(&["get"]).await, server.calls(&["set"]).await);
        proxy.let_requests_flow(false);
        {
            let mut call = pin!(locks.lock("k").acquire());
            if gives_up {
                call.await.unwrap_err();
            } else {
                assert!(poll_once(call.as_mut()).await.is_pending());
                eventually(SOON, || async { !proxy.requests_held_back().is_empty() }).await;
            }
        }
        let acquire = proxy.requests_held_back();
        proxy.cut();
        proxy.let_requests_flow(true);
        eventually(SOON, || async { server.calls(&["get"]).await > gets }).await;
        let mut late = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        late.write_all(&acquire).await.unwrap();
        eventually(SOON, || async { server.calls(&["set"]).await == sets + 1 }).await;
        is_freed(&server).await;
    }
}
