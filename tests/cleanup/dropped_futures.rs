//! A future is dropped at each of its awaits in turn: no key stays on the server, and no other caller is kept
//! waiting.

use std::{
    future::Future,
    pin::{Pin, pin},
    time::Duration,
};

use distlock::{LockError, LockGuard, LockManager, MemoryStore, distributed_lock};
use test_support::{Proxy, RedisServer, eventually};

use crate::{TTL, manager, poll_once};

const SOON: Duration = Duration::from_secs(10);

/// Two managers on one store: the calls of `locks` are dropped, and `rival` wants the same key.
struct Managers {
    locks: LockManager,
    rival: LockManager,
}

impl Managers {
    fn in_memory() -> Self {
        let store = MemoryStore::new();
        let manager = || LockManager::builder().store(store.clone()).ttl(TTL).build().unwrap();
        Self { locks: manager(), rival: manager() }
    }

    async fn through(proxy: &Proxy, server: &RedisServer) -> Self {
        Self { locks: manager(proxy.url()).await, rival: manager(server.url()).await }
    }

    /// Checks that the rival gets the key soon.
    async fn rival_gets_the_key(&self, operation: &str, polls: usize) {
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

/// Returns the operation of a name, not yet polled, and the guards that must be held during it. The value of
/// an operation is the guard that it leaves held.
async fn operation<'a>(name: &str, managers: &'a Managers) -> (Operation<'a>, Vec<LockGuard>) {
    let locks = &managers.locks;
    let nothing = Vec::new();
    // An acquire that the operation before has left on its way may still take the key for a round trip.
    let held = async |locks: &LockManager| locks.lock("k").wait(SOON).acquire().await.unwrap();
    match name {
        "acquire" => (Box::pin(async { locks.lock("k").acquire().await.ok() }), nothing),
        "fenced" => (Box::pin(async { locks.lock("k").fenced().acquire().await.ok() }), nothing),
        "wait" => {
            let held = held(&managers.rival).await;
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

/// Every operation that awaits.
const OPERATIONS: [&str; 6] = ["acquire", "fenced", "wait", "wrapper", "renew", "release"];

/// Polls at most `polls` times, and returns whether the future has ended.
async fn polled(mut future: Pin<&mut impl Future>, polls: usize) -> bool {
    for _ in 0..polls {
        if poll_once(future.as_mut()).await.is_ready() {
            return true;
        }
        // Gives the tasks that the future waits for time to run.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    false
}

/// Drops each operation after no poll, after one, and so on, until the operation ends or has been polled
/// often enough. `faults` is called before, during and after each.
async fn drop_everywhere(managers: &Managers, mut faults: impl AsyncFnMut(&str)) {
    for name in OPERATIONS {
        for polls in 0..12 {
            faults("before").await;
            let ended = {
                let (mut future, held) = operation(name, managers).await;
                faults("during").await;
                let ended = polled(pin!(future.as_mut()), polls).await;
                drop(future);
                drop(held);
                ended
            };
            faults("after").await;
            managers.rival_gets_the_key(name, polls).await;
            if ended {
                break;
            }
        }
    }
    assert_eq!(managers.locks.failed_releases(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_dropped_future_leaks_a_key_on_the_memory_store() {
    drop_everywhere(&Managers::in_memory(), async |_| {}).await;
}

#[tokio::test]
async fn no_dropped_future_leaks_a_key_on_a_server() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    drop_everywhere(&Managers::through(&proxy, &server).await, async |_| {}).await;
    eventually(SOON, || async { server.command::<Vec<String>>(&["KEYS", "lock:k"]).await.is_empty() }).await;
}

#[tokio::test]
async fn no_dropped_future_leaks_a_key_while_replies_are_late() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let late = async |when: &str| proxy.let_replies_flow(when != "during");
    drop_everywhere(&Managers::through(&proxy, &server).await, late).await;
}

#[tokio::test]
async fn no_dropped_future_leaks_a_key_while_requests_are_late() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let late = async |when: &str| proxy.let_requests_flow(when != "during");
    drop_everywhere(&Managers::through(&proxy, &server).await, late).await;
}

#[tokio::test]
async fn no_dropped_future_leaks_a_key_when_the_connection_breaks_before_the_reply() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let breaks = async |when: &str| {
        proxy.let_replies_flow(when != "during");
        if when == "after" {
            proxy.cut();
        }
    };
    drop_everywhere(&Managers::through(&proxy, &server).await, breaks).await;
}
