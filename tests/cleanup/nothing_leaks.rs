//! However a locked call ends, its key is free on the server right after, long before its ttl.

use std::{
    future::{Future, pending},
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use distlock::{
    Acquired, Holder, Key, LockError, LockManager, MemoryStore, OwnerToken, Release, Store, StoreFuture,
    distributed_lock,
};
use test_support::{Proxy, RedisServer, eventually};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// Far beyond what any of these tests may take: a key that is gone was released.
const TTL: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(5);

async fn manager(server: &RedisServer) -> LockManager {
    LockManager::builder().url(server.url()).ttl(TTL).connect().await.unwrap()
}

async fn is_freed(server: &RedisServer) {
    eventually(SOON, || async { server.keys().await.is_empty() }).await;
}

async fn is_held_alone(server: &RedisServer, key: &str) {
    eventually(SOON, || async { server.keys().await == [key] }).await;
}

#[derive(Debug)]
struct Refused;

impl From<LockError> for Refused {
    fn from(_: LockError) -> Self {
        Self
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    EarlyReturn,
    QuestionMark,
    Panic,
    Forever,
}

#[distributed_lock(key = "leak:{id}", locks = locks)]
async fn body(locks: &LockManager, id: u8, way: Way) -> Result<u8, Refused> {
    tokio::task::yield_now().await;
    match way {
        Way::EarlyReturn => return Ok(id),
        Way::QuestionMark => Err(Refused)?,
        Way::Panic => panic!("the body panics on purpose"),
        Way::Forever => pending().await,
    }
    Ok(0)
}

#[tokio::test]
async fn early_return_and_question_mark() {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    body(&locks, 1, Way::EarlyReturn).await.unwrap();
    assert_eq!(server.keys().await, [""; 0], "free when the call returns");
    body(&locks, 1, Way::QuestionMark).await.unwrap_err();
    assert_eq!(server.keys().await, [""; 0], "free when the call returns");
}

#[tokio::test]
async fn a_panic() {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    let call = tokio::spawn(async move { body(&locks, 1, Way::Panic).await });
    assert!(call.await.unwrap_err().is_panic());
    is_freed(&server).await;
}

#[tokio::test]
async fn a_timeout_around_the_call() {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    let call = tokio::time::timeout(Duration::from_millis(50), body(&locks, 1, Way::Forever));
    assert!(call.await.is_err());
    is_freed(&server).await;
}

#[tokio::test]
async fn an_aborted_task() {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    let call = tokio::spawn(async move { body(&locks, 1, Way::Forever).await });
    eventually(SOON, || async { server.has("lock:leak:1").await }).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    is_freed(&server).await;
}

#[tokio::test]
async fn a_future_that_was_never_polled_never_acquires() {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    drop(body(&locks, 1, Way::Forever));
    drop(locks.lock("k").acquire());
    drop(locks.lock("k").run(async {}));
    assert_eq!(server.calls(&["set", "evalsha", "eval"]).await, 0);
}

#[tokio::test]
async fn a_guard_dropped_on_a_thread_without_a_runtime() {
    let server = RedisServer::start();
    let guard = manager(&server).await.lock("k").acquire().await.unwrap();
    std::thread::spawn(move || drop(guard)).join().unwrap();
    is_freed(&server).await;
}

/// The future is dropped after each number of polls in turn, so at each of its await points; also while a reply is outstanding.
#[tokio::test]
async fn a_future_dropped_at_any_await() {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    // With the connection warm, a poll of the call is a step between two awaits.
    locks.lock("warm").run(async {}).await.unwrap();
    let mut finished = false;
    let mut polls = 0;
    while !finished {
        let was_inside = AtomicBool::new(false);
        {
            let mut call = pin!(locks.lock("k").run(async {
                was_inside.store(true, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }));
            for _ in 0..=polls {
                finished = call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
                if finished {
                    break;
                }
                // Lets the connection and the keeper get on, for as long as they have something to do.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        is_freed(&server).await;
        assert!(!finished || was_inside.load(Ordering::Relaxed));
        polls += 1;
    }
    assert!(polls >= 3, "it has an await to acquire, one inside, one to release; it had {polls}");
    assert_eq!(locks.failed_releases(), 0);
}

/// A call that is dropped while the reply to its acquire is held back.
#[tokio::test]
async fn a_future_dropped_before_the_reply_to_its_acquire() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::builder().url(proxy.url()).ttl(TTL).connect().await.unwrap();
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

/// A call that is dropped before its acquire has reached the server, which then executes it for nobody.
#[tokio::test]
async fn a_future_dropped_before_its_acquire_arrives() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::builder().url(proxy.url()).ttl(TTL).connect().await.unwrap();
    proxy.let_requests_flow(false);
    {
        let mut call = pin!(locks.lock("k").acquire());
        assert!(poll_once(call.as_mut()).await.is_pending());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.calls(&["set"]).await, 0);
    proxy.let_requests_flow(true);
    eventually(SOON, || async { server.calls(&["set"]).await == 1 }).await;
    is_freed(&server).await;
}

/// The connection breaks between the request and the reply, and the caller has gone.
#[tokio::test]
async fn an_acquire_whose_reply_was_cut_off() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::builder().url(proxy.url()).ttl(TTL).connect().await.unwrap();
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

/// The caller is there, the reply is lost: the acquire is sent again and recognises its own token, whose time has run since the first.
#[tokio::test]
async fn an_acquire_sent_again_recognises_itself() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::builder().url(proxy.url()).ttl(Duration::from_secs(3)).connect().await.unwrap();
    proxy.let_replies_flow(false);
    let call = tokio::spawn(locks.lock("k").acquire());
    eventually(SOON, || async { server.has("lock:k").await }).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.let_replies_flow(true);
    proxy.cut();
    let guard = call.await.unwrap().expect("its own token is no stranger's");
    let believed = guard.remaining();
    let left = Duration::from_millis(server.command(&["PTTL", "lock:k"]).await);
    assert!(guard.is_held() && believed < left, "believed in for {believed:?}, and it lasts {left:?}");
    guard.release().await.unwrap();
    is_freed(&server).await;
}

/// The server executes an acquire long after the client has given up on it.
#[tokio::test]
async fn an_acquire_that_executes_after_the_client_gave_up() {
    let server = RedisServer::start();
    let builder =
        LockManager::builder().url(server.url()).ttl(TTL).response_timeout(Duration::from_millis(200));
    let locks = builder.connect().await.unwrap();
    server.pause();
    let error = locks.lock("k").acquire().await.unwrap_err();
    assert!(matches!(error, LockError::Store { .. }), "{error}");
    server.resume();
    // The late SET and the clean-up are both on their way: what counts is what is left.
    eventually(SOON, || async { server.calls(&["set"]).await > 0 }).await;
    is_freed(&server).await;
}

/// The worst order: an acquire stands in a broken connection's buffers when its caller goes, or gives up; its release, sent again over a new
/// connection, finds nothing to release; then the server executes the acquire.
#[tokio::test]
async fn an_acquire_that_executes_after_its_releases_did() {
    for gives_up in [true, false] {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.port()).await;
        let timeout = if gives_up { Duration::from_millis(100) } else { SOON };
        let builder = LockManager::builder().url(proxy.url()).ttl(TTL).response_timeout(timeout);
        let locks = builder.connect().await.unwrap();
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
        eventually(SOON, || async { server.calls(&["get"]).await > 0 }).await;
        let mut late = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        late.write_all(&acquire).await.unwrap();
        eventually(SOON, || async { server.calls(&["set"]).await == 1 }).await;
        is_freed(&server).await;
    }
}

#[tokio::test]
async fn a_release_dropped_midway_goes_on() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::builder().url(proxy.url()).ttl(TTL).connect().await.unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    proxy.let_requests_flow(false);
    {
        let mut release = pin!(guard.release());
        assert!(poll_once(release.as_mut()).await.is_pending());
    }
    assert!(server.has("lock:k").await);
    proxy.let_requests_flow(true);
    is_freed(&server).await;
}

/// An idle connection that the server closed is noticed at its next use, and that may be a release.
#[tokio::test]
async fn a_release_over_a_broken_connection() {
    let server = RedisServer::start();
    let locks = manager(&server).await;
    let guard = locks.lock("guard").acquire().await.unwrap();
    locks.lock("body").run(server.command::<u8>(&["CLIENT", "KILL", "TYPE", "normal"])).await.unwrap();
    is_held_alone(&server, "lock:guard").await;
    server.command::<u8>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    drop(guard);
    is_freed(&server).await;
    assert_eq!(locks.failed_releases(), 0);
}

#[tokio::test]
async fn a_release_that_failed_is_tried_again_and_takes_nothing_from_the_value() {
    let mut server = RedisServer::start();
    let locks = LockManager::builder().url(server.url()).ttl(Duration::from_secs(2)).connect().await.unwrap();
    let server_ref = &mut server;
    let value = locks.lock("k").run(async {
        server_ref.stop();
        42
    });
    assert_eq!(value.await.unwrap(), 42);
    assert_eq!(locks.failed_releases(), 0, "it is still being tried");
    eventually(SOON, || async { locks.failed_releases() == 1 }).await;
}

#[distributed_lock(key = "in-background", release = "background", locks = locks)]
async fn in_background(locks: &LockManager) -> Result<(), LockError> {
    tokio::task::yield_now().await;
    Ok(())
}

/// It returns while the answer is still out, and a later acquire comes after it.
#[tokio::test]
async fn a_release_in_the_background_is_on_its_way() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let locks = LockManager::builder().url(proxy.url()).ttl(TTL).connect().await.unwrap();
    for _ in 0..100 {
        // Without a wait: the key is free for whoever asks later.
        in_background(&locks).await.unwrap();
    }
    locks
        .lock("k")
        .release(Release::Background)
        .run(async {
            proxy.let_replies_flow(false);
        })
        .await
        .unwrap();
    proxy.let_replies_flow(true);
    is_freed(&server).await;
    assert_eq!(locks.failed_releases(), 0);
}

#[tokio::test]
async fn a_release_in_the_background_that_failed_is_tried_again() {
    let mut server = RedisServer::start();
    let locks = LockManager::builder().url(server.url()).ttl(Duration::from_secs(1)).connect().await.unwrap();
    let server_ref = &mut server;
    let body = async { server_ref.stop() };
    locks.lock("k").release(Release::Background).run(body).await.unwrap();
    eventually(SOON, || async { locks.failed_releases() == 1 }).await;
}

/// A store that never answers a release of some keys.
struct HangsOn(MemoryStore, &'static str);

impl Store for HangsOn {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.0.acquire(key, owner, ttl, fenced)
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.0.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        if key.name().starts_with(self.1) { Box::pin(pending()) } else { self.0.release(key, owner) }
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.0.inspect(key)
    }
}

#[tokio::test(start_paused = true)]
async fn releases_without_an_answer_delay_no_other_and_are_given_up_with_their_ttl() {
    const HUNG: u64 = 2000;
    let locks = LockManager::builder().store(HangsOn(MemoryStore::new(), "hung")).build().unwrap();
    let start = tokio::time::Instant::now();
    for number in 0..HUNG {
        drop(locks.lock(format!("hung:{number}")).acquire().await.unwrap());
    }
    drop(locks.lock("free").acquire().await.unwrap());
    drop(locks.lock("free").wait(SOON).acquire().await.unwrap());
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
    tokio::time::sleep(TTL).await;
    assert_eq!(locks.failed_releases(), HUNG);
}

async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
