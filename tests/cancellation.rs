//! A future is dropped at each of its await points in turn: no key stays behind, and nobody is kept waiting.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use common::{RedisServer, eventually, proxy::Proxy};
use distlock::{LockError, LockGuard, LockManager, MemoryStore, distributed_lock};

mod common;

const TTL: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(10);

/// A store seen from two sides: by the manager whose calls are dropped, and by somebody else who wants the same key.
struct Sides {
    locks: LockManager,
    rival: LockManager,
}

impl Sides {
    fn in_memory() -> Self {
        let store = MemoryStore::new();
        let manager = || LockManager::builder().store(store.clone()).ttl(TTL).build().unwrap();
        Self { locks: manager(), rival: manager() }
    }

    async fn through(proxy: &Proxy, server: &RedisServer) -> Self {
        let connect = |url| LockManager::builder().url(url).ttl(TTL).connect();
        Self { locks: connect(proxy.url()).await.unwrap(), rival: connect(server.url()).await.unwrap() }
    }

    /// Somebody else gets the key, soon.
    async fn is_free(&self, operation: &str, polls: usize) {
        let free = self.rival.lock("k").wait(SOON).acquire().await;
        match free {
            Ok(guard) => guard.release().await.unwrap(),
            Err(error) => panic!("{operation}, dropped after {polls} polls: {error}"),
        }
    }
}

#[distributed_lock(key = "k", locks = locks)]
async fn wrapper(locks: &LockManager) -> Result<(), LockError> {
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    Ok(())
}

type Operation<'a> = Pin<Box<dyn Future<Output = Option<LockGuard>> + 'a>>;

/// Every operation that awaits, by its name. What it leaves held is its value, or was given before.
async fn operation<'a>(name: &str, sides: &'a Sides) -> (Operation<'a>, Vec<LockGuard>) {
    let locks = &sides.locks;
    let nothing = Vec::new();
    // What the operation before has left on its way may still take the key, for a round trip.
    let held = async |locks: &LockManager| locks.lock("k").wait(SOON).acquire().await.unwrap();
    match name {
        "acquire" => (Box::pin(async { locks.lock("k").acquire().await.ok() }), nothing),
        "fenced" => (Box::pin(async { locks.lock("k").fenced().acquire().await.ok() }), nothing),
        "wait" => {
            let held = held(&sides.rival).await;
            (Box::pin(async { locks.lock("k").wait_forever().acquire().await.ok() }), vec![held])
        }
        "wrapper" => (
            Box::pin(async {
                wrapper(locks).await.ok();
                None
            }),
            nothing,
        ),
        "renew" => {
            let guard = held(locks).await;
            (
                Box::pin(async move {
                    guard.renew().await.ok();
                    Some(guard)
                }),
                nothing,
            )
        }
        "release" => {
            let guard = held(locks).await;
            (
                Box::pin(async move {
                    guard.release().await.ok();
                    None
                }),
                nothing,
            )
        }
        _ => panic!("no operation {name}"),
    }
}

const OPERATIONS: [&str; 6] = ["acquire", "fenced", "wait", "wrapper", "renew", "release"];

/// Polls up to `polls` times and drops the future; whether it had ended before.
async fn polled(mut future: Pin<&mut impl Future>, polls: usize) -> bool {
    for _ in 0..polls {
        let poll = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready()));
        if poll.await {
            return true;
        }
        // Lets whatever it waits for get on.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}

/// Drops each operation after one poll more each time, until it ends by itself or, waiting, has been polled often enough.
async fn drop_everywhere(sides: &Sides, mut faults: impl AsyncFnMut(&str)) {
    for name in OPERATIONS {
        for polls in 0..12 {
            faults("before").await;
            let ended = {
                let (mut future, held) = operation(name, sides).await;
                faults("during").await;
                let ended = polled(pin!(future.as_mut()), polls).await;
                drop(future);
                drop(held);
                ended
            };
            faults("after").await;
            sides.is_free(name, polls).await;
            if ended {
                break;
            }
        }
    }
    assert_eq!(sides.locks.failed_releases(), 0);
}

#[tokio::test(start_paused = true)]
async fn on_the_memory_store() {
    drop_everywhere(&Sides::in_memory(), async |_| {}).await;
}

#[tokio::test]
async fn on_a_server() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    drop_everywhere(&Sides::through(&proxy, &server).await, async |_| {}).await;
    eventually(SOON, || async { server.command::<Vec<String>>(&["KEYS", "lock:k"]).await.is_empty() }).await;
}

#[tokio::test]
async fn on_a_server_whose_replies_are_late() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let late = async |when: &str| proxy.let_replies_flow(when != "during");
    drop_everywhere(&Sides::through(&proxy, &server).await, late).await;
}

#[tokio::test]
async fn on_a_server_that_gets_requests_late() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let late = async |when: &str| proxy.let_requests_flow(when != "during");
    drop_everywhere(&Sides::through(&proxy, &server).await, late).await;
}

#[tokio::test]
async fn on_a_connection_that_breaks_between_request_and_reply() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let breaks = async |when: &str| {
        proxy.let_replies_flow(when != "during");
        if when == "after" {
            proxy.cut();
        }
    };
    drop_everywhere(&Sides::through(&proxy, &server).await, breaks).await;
}
