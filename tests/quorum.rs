//! Locks on a quorum of real servers, some of which fail.

use std::{
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{RedisServer, eventually, in_time, proxy::Proxy};
use distlock::{
    Acquired, FencingToken, Holder, Key, LockError, LockManager, LockManagerBuilder, LostReason, MemoryStore,
    OwnerToken, Store, StoreError, StoreErrorKind, StoreFuture,
};
use tokio::time::sleep;

mod common;

const SOON: Duration = Duration::from_secs(10);
/// Longer than a test may take: who waits for a node that hangs fails.
const NEVER: Duration = Duration::from_secs(120);

fn servers<const N: usize>() -> [RedisServer; N] {
    std::array::from_fn(|_| RedisServer::start())
}

fn url(servers: &[RedisServer]) -> String {
    let hosts: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    format!("redlock://{}", hosts.join(","))
}

/// Nodes that were started just now are not left out.
fn quorum(servers: &[RedisServer]) -> LockManagerBuilder {
    LockManager::builder().url(url(servers)).restart_delay(Duration::ZERO)
}

/// A node whose commands reach it late, or never.
#[derive(Default)]
struct Late {
    store: MemoryStore,
    acquires: AtomicUsize,
    /// How long each command is on its way.
    acquire_lag: Mutex<Duration>,
    release_lag: Mutex<Duration>,
    /// It says that commands reach it in their order.
    in_order: bool,
}

impl Late {
    fn after<T: Send + 'static>(lag: &Mutex<Duration>, command: StoreFuture<T>) -> StoreFuture<T> {
        let lag = *lag.lock().unwrap();
        Box::pin(async move {
            if lag == NEVER {
                sleep(Duration::from_millis(100)).await;
                return Err(StoreError::new(StoreErrorKind::TimedOut, "the node did not answer in time"));
            }
            sleep(lag).await;
            command.await
        })
    }

    async fn has(&self, name: &str) -> bool {
        let key = Key::new("lock", name).unwrap();
        self.store.inspect(&key).await.unwrap().is_some()
    }
}

impl Store for Late {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.acquires.fetch_add(1, Ordering::Relaxed);
        Self::after(&self.acquire_lag, self.store.acquire(key, owner, ttl, fenced))
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.store.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        Self::after(&self.release_lag, self.store.release(key, owner))
    }

    fn keeps_order(&self) -> bool {
        self.in_order
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        Self::after(&self.acquire_lag, self.store.inspect(key))
    }
}

fn late<const N: usize>() -> ([Arc<Late>; N], LockManager) {
    late_in_order(false)
}

fn late_in_order<const N: usize>(in_order: bool) -> ([Arc<Late>; N], LockManager) {
    let nodes: [Arc<Late>; N] = std::array::from_fn(|_| Arc::new(Late { in_order, ..Late::default() }));
    let locks = LockManager::quorum(nodes.clone()).unwrap();
    (nodes, locks)
}

#[tokio::test(start_paused = true)]
async fn a_release_never_overtakes_its_own_acquire() {
    let (nodes, locks) = late::<3>();
    *nodes[2].acquire_lag.lock().unwrap() = Duration::from_millis(500);
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    assert!(!nodes[2].has("k").await, "it would stay until its ttl");
}

/// A connection was replaced, and the server read the new one first.
#[tokio::test(start_paused = true)]
async fn a_release_that_overtook_its_own_acquire_is_sent_again() {
    let (nodes, locks) = late_in_order::<5>(true);
    // Its answer comes before the release's, or after it.
    for (node, millis) in [(3, 10), (4, 500)] {
        *nodes[node].acquire_lag.lock().unwrap() = Duration::from_millis(millis);
    }
    let guard = locks.lock("k").acquire().await.unwrap();
    guard.release().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    for node in &nodes {
        assert!(!node.has("k").await, "it would stay until its ttl");
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_that_failed_on_a_node_that_granted_late_is_sent_again() {
    for in_order in [false, true] {
        let (nodes, locks) = late_in_order::<3>(in_order);
        *nodes[2].acquire_lag.lock().unwrap() = Duration::from_millis(10);
        *nodes[2].release_lag.lock().unwrap() = NEVER;
        locks.lock("k").acquire().await.unwrap().release().await.unwrap();
        sleep(Duration::from_millis(200)).await;
        assert!(nodes[2].has("k").await);
        *nodes[2].release_lag.lock().unwrap() = Duration::ZERO;
        sleep(Duration::from_secs(5)).await;
        assert!(!nodes[2].has("k").await, "it would stay until its ttl");
    }
}

/// One command does not wait for the answer to another.
#[tokio::test(start_paused = true)]
async fn nodes_that_keep_order_are_not_waited_for_one_by_one() {
    let (nodes, locks) = late_in_order::<3>(true);
    *nodes[2].acquire_lag.lock().unwrap() = Duration::from_millis(500);
    for _ in 0..10 {
        locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(nodes[2].acquires.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_is_asked_no_more_until_it_answers() {
    let (nodes, locks) = late::<3>();
    *nodes[1].acquire_lag.lock().unwrap() = NEVER;
    locks.lock("first").acquire().await.unwrap().release().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    for _ in 0..20 {
        locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    }
    assert_eq!(nodes[1].acquires.load(Ordering::Relaxed), 1);
    *nodes[1].acquire_lag.lock().unwrap() = Duration::ZERO;
    sleep(Duration::from_secs(3)).await;
    let _guard = locks.lock("k").acquire().await.unwrap();
    sleep(Duration::from_millis(1)).await;
    assert!(nodes[1].has("k").await, "it takes part again");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_released_is_free_for_the_next_call() {
    let (nodes, locks) = late::<5>();
    let lag = |lag: fn(&Late) -> &Mutex<Duration>, nodes: &[Arc<Late>], millis| {
        for node in nodes {
            *lag(node).lock().unwrap() = Duration::from_millis(millis);
        }
    };
    // Two nodes get the first acquire late, two others the second release: each time a majority has decided without them.
    lag(|node| &node.acquire_lag, &nodes[3..], 30);
    let first = locks.lock("k").acquire().await.unwrap();
    sleep(Duration::from_millis(1)).await;
    lag(|node| &node.acquire_lag, &nodes[3..], 0);
    first.release().await.unwrap();
    let second = locks.lock("k").acquire().await.unwrap();
    lag(|node| &node.release_lag, &nodes[1..3], 50);
    second.release().await.unwrap();
    lag(|node| &node.release_lag, &nodes[3..], 100);
    sleep(Duration::from_millis(40)).await;
    let third = locks.lock("k").acquire().await.expect("it was released");
    third.release().await.unwrap();
}

/// On how many servers the key is taken.
async fn taken(servers: &[RedisServer], key: &str) -> usize {
    let mut number = 0;
    for server in servers {
        number += usize::from(server.has(key).await);
    }
    number
}

#[tokio::test]
async fn a_lock_is_on_all_nodes_and_then_on_none() {
    let servers = servers::<5>();
    let locks = quorum(&servers).connect().await.unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    eventually(SOON, async || taken(&servers, "lock:k").await == 5).await;
    let LockError::Busy { remaining, .. } = locks.lock("k").acquire().await.unwrap_err() else {
        panic!("busy")
    };
    assert!(remaining.unwrap() > Duration::from_secs(20), "{remaining:?}");
    guard.release().await.unwrap();
    eventually(SOON, async || taken(&servers, "lock:k").await == 0).await;
}

#[tokio::test]
async fn nodes_that_hang_cost_nothing_while_they_are_a_minority() {
    let servers = servers::<5>();
    let locks = quorum(&servers).response_timeout(NEVER).build().unwrap();
    drop(locks.lock("first").acquire().await.unwrap());
    servers[1].pause();
    servers[3].pause();
    for _ in 0..20 {
        let guard = in_time(SOON, locks.lock("k").fenced().acquire()).await.unwrap();
        in_time(SOON, guard.renew()).await.unwrap();
        in_time(SOON, guard.release()).await.unwrap();
    }
    servers[1].resume();
    servers[3].resume();
}

#[tokio::test]
async fn late_grants_are_released_when_the_node_comes_back() {
    let servers = servers::<3>();
    let locks = quorum(&servers).ttl(Duration::from_secs(60)).build().unwrap();
    locks.lock("warm").acquire().await.unwrap().release().await.unwrap();
    servers[2].pause();
    for number in 0..20 {
        locks.lock(format!("k{number}")).acquire().await.unwrap().release().await.unwrap();
    }
    // Some have been given up by then, and some have been dropped in the middle.
    for number in 20..40 {
        let _ = tokio::time::timeout(Duration::from_millis(100), locks.lock(format!("k{number}")).acquire())
            .await;
    }
    servers[2].resume();
    let locks_left = async |server: &RedisServer| {
        server.keys().await.into_iter().filter(|key| key.starts_with("lock:")).count()
    };
    for server in &servers {
        eventually(Duration::from_secs(30), async || locks_left(server).await == 0).await;
    }
}

#[tokio::test]
async fn without_a_majority_there_is_no_lock_and_each_node_is_named() {
    let mut servers = servers::<3>();
    let url = url(&servers).replace("redlock://", "redlock://user:sesame@");
    let locks = quorum(&servers).connect().await.unwrap();
    servers[0].stop();
    servers[2].stop();
    let error = locks.lock("k").acquire().await.unwrap_err();
    let LockError::Store { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), StoreErrorKind::NoQuorum, "{error}");
    let text = error.to_string();
    assert!(text.contains("2 of 3 nodes failed"), "{text}");
    for at in [0, 2] {
        assert!(text.contains(&format!("127.0.0.1:{}: ", servers[at].port())), "{text}");
    }
    eventually(SOON, async || !servers[1].has("lock:k").await).await;
    // Of credentials nothing is told.
    let refused = LockManager::builder().url(&url).connect().await.unwrap_err().to_string();
    assert!(refused.contains("no quorum") && !refused.contains("sesame"), "{refused}");
}

#[tokio::test]
async fn nodes_that_come_back_take_part_again() {
    let mut servers = servers::<3>();
    let locks = quorum(&servers).build().unwrap();
    for (down, server) in servers.iter_mut().enumerate() {
        server.stop();
        // With the one before it, which was down, and the one after.
        let again = async || locks.lock("k").wait(Duration::from_secs(5)).acquire().await;
        again().await.unwrap().release().await.unwrap();
        server.restart();
        let key = format!("back:{down}");
        eventually(SOON, async || {
            let guard = locks.lock(&key).acquire().await.unwrap();
            let is_back = server.has(&format!("lock:{key}")).await;
            guard.release().await.unwrap();
            is_back
        })
        .await;
    }
}

#[tokio::test]
async fn a_lease_is_lost_when_a_majority_no_longer_confirms_it() {
    let servers = servers::<5>();
    let locks = quorum(&servers).ttl(Duration::from_secs(2)).build().unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    eventually(SOON, async || taken(&servers, "lock:k").await == 5).await;
    for server in &servers[..2] {
        server.command::<u8>(&["DEL", "lock:k"]).await;
    }
    guard.renew().await.expect("three of five are a majority");
    servers[2].command::<u8>(&["DEL", "lock:k"]).await;
    assert_eq!(in_time(SOON, guard.lost()).await, LostReason::NotOwner);
}

#[tokio::test]
async fn a_lease_is_lost_when_a_majority_does_not_answer_until_its_validity_is_over() {
    let servers = servers::<5>();
    let locks = quorum(&servers).ttl(Duration::from_millis(900)).build().unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    for server in &servers[..2] {
        server.pause();
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(guard.is_held(), "a minority that hangs does not end it");
    servers[2].pause();
    assert_eq!(in_time(SOON, guard.lost()).await, LostReason::Expired);
    servers[..3].iter().for_each(RedisServer::resume);
}

#[tokio::test]
async fn contenders_with_managers_of_their_own_all_get_on() {
    let servers = servers::<5>();
    let mut tasks = tokio::task::JoinSet::new();
    let inside = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..8 {
        let (locks, inside) = (quorum(&servers).build().unwrap(), inside.clone());
        tasks.spawn(async move {
            for _ in 0..10 {
                let lock = locks.lock("k").wait(Duration::from_secs(60));
                let body = lock.run(async {
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                });
                body.await.unwrap();
            }
        });
    }
    in_time(Duration::from_secs(60), tasks.join_all()).await;
}

/// Acquires in turns with two managers, and does something to the servers after each time.
async fn tokens_rise(
    mut servers: [RedisServer; 3],
    mut after: impl AsyncFnMut(usize, &mut [RedisServer; 3]),
) {
    let locks = [quorum(&servers).build().unwrap(), quorum(&servers).build().unwrap()];
    let mut last: Option<FencingToken> = None;
    for step in 0..12 {
        let lock = locks[step % 2].lock("k").wait(Duration::from_secs(5)).fenced();
        let guard = lock.acquire().await.unwrap();
        let token = guard.fencing_token();
        assert!(token > last, "step {step}: {token:?} after {last:?}");
        last = token;
        guard.release().await.unwrap();
        after(step, &mut servers).await;
    }
}

#[tokio::test]
async fn fencing_tokens_rise_over_nodes_that_differ() {
    let differ = async |step: usize, servers: &mut [RedisServer; 3]| match step {
        // One node is far ahead: the others have to be raised.
        1 | 2 | 5 => {
            let counter = "lock:k\u{1f}fAFME";
            servers[step % 3].command::<i64>(&["INCRBY", counter, "5000000000"]).await;
        }
        4 => servers[0].command::<()>(&["SCRIPT", "FLUSH"]).await,
        8 => servers[0].stop(),
        _ => {}
    };
    tokens_rise(servers(), differ).await;
}

#[tokio::test]
async fn fencing_tokens_rise_over_nodes_that_forget() {
    let forget = async |step: usize, servers: &mut [RedisServer; 3]| match step {
        2 | 7 => {
            for server in servers {
                server.command::<()>(&["FLUSHALL"]).await;
            }
        }
        4 | 9 => servers.iter_mut().for_each(RedisServer::restart),
        // As two days after the last grant.
        6 => {
            for server in servers {
                server.command::<u8>(&["PEXPIRE", "lock:k\u{1f}fAFME", "0"]).await;
            }
        }
        5 => servers[1].restart(),
        _ => {}
    };
    tokens_rise(servers(), forget).await;
}

#[tokio::test]
async fn a_node_that_was_just_started_grants_nothing() {
    let mut servers = servers::<3>();
    let out = |locks: LockManager| async move { locks.lock("k").acquire().await };
    let error = out(LockManager::builder().url(url(&servers)).build().unwrap()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("2 of 3 nodes failed") && text.contains("restart_delay"), "{text}");

    let delay = Duration::from_secs(2);
    let locks = quorum(&servers).build().unwrap();
    let held = locks.lock("k").acquire().await.unwrap();
    eventually(SOON, async || taken(&servers, "lock:k").await == 3).await;
    for server in &servers {
        eventually(SOON, async || uptime(server).await > delay).await;
    }
    // One comes back empty, another has lost the key in some other way: they are a majority for a second owner.
    servers[0].restart();
    servers[1].command::<u8>(&["DEL", "lock:k"]).await;
    let other = quorum(&servers).restart_delay(delay).build().unwrap();
    let refused = other.lock(held.key()).acquire().await;
    assert!(matches!(&refused, Err(LockError::Store { .. } | LockError::Busy { .. })), "{refused:?}");
    // Without the rule it does.
    let second = quorum(&servers).build().unwrap();
    drop(second.lock(held.key()).wait(SOON).acquire().await.expect("a second owner"));
    // And so it does when its time is over.
    let third = in_time(SOON, other.lock(held.key()).wait_forever().acquire()).await;
    drop(third.expect("a second owner"));
}

/// In whole seconds, as the server tells it.
async fn uptime(server: &RedisServer) -> Duration {
    let info: String = server.command(&["INFO", "server"]).await;
    let uptime = info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:")).expect("it is told");
    Duration::from_secs(uptime.parse().expect("a number"))
}

#[tokio::test]
async fn a_partition_that_heals_leaves_nothing() {
    let servers = servers::<3>();
    let mut proxies = Vec::new();
    for server in &servers {
        proxies.push(Proxy::to(server.port()).await);
    }
    let hosts: Vec<_> = proxies
        .iter()
        .map(|proxy| proxy.url().trim_start_matches("redis://").trim_end_matches('/').to_owned())
        .collect();
    let url = format!("redlock://{}", hosts.join(","));
    let locks = LockManager::builder()
        .url(url)
        .restart_delay(Duration::ZERO)
        .response_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    locks.lock("warm").acquire().await.unwrap().release().await.unwrap();
    // Two nodes hear us, and we do not hear them.
    proxies[..2].iter().for_each(|proxy| proxy.let_replies_flow(false));
    let error = locks.lock("k").acquire().await.unwrap_err();
    assert!(matches!(&error, LockError::Store { .. }), "{error}");
    eventually(SOON, async || taken(&servers, "lock:k").await >= 2).await;
    proxies[..2].iter().for_each(|proxy| proxy.let_replies_flow(true));
    eventually(SOON, async || taken(&servers, "lock:k").await == 0).await;
}

#[test]
fn what_a_quorum_url_must_not_be() {
    let refused = |url: &str| LockManager::builder().url(url).build().unwrap_err().to_string();
    assert!(refused("redlock://a,a:6379,b").contains("named twice"), "{}", refused("redlock://a,a:6379,b"));
    assert!(refused("redlock://a,,b").contains("URL"), "{}", refused("redlock://a,,b"));
    let none: [distlock::MemoryStore; 0] = [];
    assert!(LockManager::quorum(none).unwrap_err().to_string().contains("a quorum of 0 nodes"));
}

#[test]
fn a_short_soak_of_five_servers_finds_no_stale_write() {
    let seed = std::process::id();
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    let soak = Command::new(program.join("examples/quorum_soak"))
        .args(["--seconds", "10", "--seed", &seed.to_string()])
        .output()
        .expect("cargo test builds the examples");
    let text = String::from_utf8_lossy(&soak.stdout);
    assert!(soak.status.success(), "seed {seed}: {text}\n{}", String::from_utf8_lossy(&soak.stderr));
}
