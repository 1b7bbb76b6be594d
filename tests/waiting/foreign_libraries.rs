//! Libraries that take the same key by `SET NX`, and poll while it is held, get their share beside waiters of
//! distlock, which get theirs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use distlock::{LockError, LockManager, StoreErrorKind};
use redis::aio::MultiplexedConnection;
use test_support::{RedisServer, eventually, in_time};
use tokio::{task::JoinSet, time::sleep};

use crate::{SECOND, SOON, gets, manager, queue_has, queue_length, scripts, wait_for, wait_in_queue};

const MINUTE: Duration = Duration::from_secs(60);

/// A lock of another library on the key `k`, as most of them are written.
struct ForeignLock {
    connection: MultiplexedConnection,
    /// How long it sleeps between two attempts.
    every: Duration,
}

impl ForeignLock {
    async fn new(server: &RedisServer, every: Duration) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        Self { connection: client.get_multiplexed_async_connection().await.unwrap(), every }
    }

    async fn acquire(&mut self) {
        let mut set = redis::cmd("SET");
        // What redis-py writes: a UUID without hyphens.
        set.arg("lock:k").arg("0af7c9d6a3d011efb864325096b39f47").arg("NX").arg("PX").arg(30_000);
        while set.query_async::<Option<String>>(&mut self.connection).await.unwrap().is_none() {
            sleep(self.every).await;
        }
    }

    async fn release(&mut self) {
        const RELEASE: &str =
            "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
        let mut release = redis::cmd("EVAL");
        release.arg(RELEASE).arg(1).arg("lock:k").arg("0af7c9d6a3d011efb864325096b39f47");
        assert_eq!(release.query_async::<u8>(&mut self.connection).await.unwrap(), 1);
    }
}

/// The sections that ran under the key `k`.
struct Sections {
    lasts: Duration,
    inside: AtomicBool,
    ours: AtomicU64,
    theirs: AtomicU64,
}

impl Sections {
    async fn run(&self, turns: &AtomicU64) {
        assert!(!self.inside.swap(true, Ordering::SeqCst), "two holders");
        sleep(self.lasts).await;
        assert!(self.inside.swap(false, Ordering::SeqCst));
        turns.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets `processes` of `tasks` each take the key as often as they can, beside a library that polls, until
/// they had so many turns. Returns how many turns the library had.
async fn turns_of_another_library(
    (processes, tasks): (usize, usize),
    every: Duration,
    lasts: Duration,
    turns: u64,
) -> u64 {
    let server = RedisServer::start();
    let (ours, theirs, inside) = Default::default();
    let sections = Arc::new(Sections { lasts, inside, ours, theirs });
    let mut foreign = ForeignLock::new(&server, every).await;
    foreign.acquire().await;
    let mut running = JoinSet::new();
    for _ in 0..processes {
        let locks = manager(server.url()).await;
        for _ in 0..tasks {
            let (locks, sections) = (locks.clone(), Arc::clone(&sections));
            running.spawn(async move {
                while sections.ours.load(Ordering::Relaxed) < turns {
                    let guard = locks.lock("k").wait_forever().acquire().await.unwrap();
                    sections.run(&sections.ours).await;
                    guard.release().await.unwrap();
                }
            });
        }
    }
    queue_has(&server, processes).await;
    foreign.release().await;
    let theirs = Arc::clone(&sections);
    let poller = tokio::spawn(async move {
        loop {
            foreign.acquire().await;
            theirs.run(&theirs.theirs).await;
            foreign.release().await;
            sleep(every).await;
        }
    });
    in_time(MINUTE, running.join_all()).await;
    poller.abort();
    assert!(poller.await.unwrap_err().is_cancelled(), "the other library never met another holder");
    sections.theirs.load(Ordering::Relaxed)
}

/// One release in 8 leaves the key free for 10 ms at the least, and a library that polls every 5 ms finds it
/// so. Half of that share makes up for pollers that a busy machine delays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_library_that_polls_gets_one_turn_for_sixteen_of_ours_at_the_least() {
    const TURNS: u64 = 320;
    let every = Duration::from_millis(5);
    for (processes, tasks) in [(1, 1), (1, 8), (4, 2)] {
        let theirs =
            turns_of_another_library((processes, tasks), every, Duration::from_millis(2), TURNS).await;
        assert!(theirs >= TURNS / 16, "{theirs} turns beside {TURNS} of {processes} times {tasks} tasks");
    }
}

/// The key is left free for as long as a lease lasts on average: here for as long as the library sleeps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_library_that_polls_seldom_gets_its_share_beside_long_leases() {
    const TURNS: u64 = 48;
    let lasts = Duration::from_millis(100);
    let theirs = turns_of_another_library((2, 2), lasts, lasts, TURNS).await;
    assert!(theirs >= TURNS / 16, "{theirs} turns beside {TURNS}");
}

/// Lets a process see another library on the key, and take the key after it.
async fn saw_another_library(server: &RedisServer, locks: &LockManager) -> distlock::LockGuard {
    server.command::<()>(&["SET", "lock:k", "theirs", "PX", "600000"]).await;
    let waiter = wait_in_queue(server, locks, 1).await;
    server.command::<u8>(&["DEL", "lock:k"]).await;
    gets(waiter).await
}

#[tokio::test]
async fn one_release_in_eight_leaves_the_key_free_in_whatever_process() {
    let server = RedisServer::start();
    let mut held = saw_another_library(&server, &manager(server.url()).await).await;
    // Processes that never saw the other library.
    let processes = [manager(server.url()).await, manager(server.url()).await];
    for release in 1..=16 {
        // Some waiters are of the holder's process, and the release names them.
        let waiter = wait_in_queue(&server, &processes[release / 2 % 2], 1).await;
        let before = server.calls(&["del"]).await;
        held.release().await.unwrap();
        let deleted = server.calls(&["del"]).await - before;
        assert_eq!(deleted, u64::from(release % 8 == 0), "release {release}");
        held = gets(waiter).await;
    }
}

#[tokio::test]
async fn a_newcomer_does_not_take_the_key_that_is_left_to_other_libraries() {
    let server = RedisServer::start();
    let (locks, elsewhere) = (manager(server.url()).await, manager(server.url()).await);
    let mut held = saw_another_library(&server, &locks).await;
    for _ in 1..8 {
        held.release().await.unwrap();
        held = locks.lock("k").wait(SOON).acquire().await.unwrap();
    }
    // An eighth of this time is that for which the key is left free.
    sleep(SECOND).await;
    let waiter = wait_in_queue(&server, &elsewhere, 1).await;
    held.release().await.unwrap();
    let newcomer = wait_for(locks.lock("k"));
    let guard = gets(waiter).await;
    assert!(!newcomer.is_finished(), "the waiter came first");
    guard.release().await.unwrap();
    gets(newcomer).await.release().await.unwrap();
}

#[tokio::test]
async fn a_waiter_polls_beside_another_library_and_beside_no_holder_of_ours() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let ours = "f3b9c1d2-5e47-4c8a-9b0d-6a1e2f3c4d5b";
    for value in [format!("{ours} host:1"), format!("{ours} pod-7")] {
        server.command::<()>(&["SET", "lock:k", &value, "PX", "600000"]).await;
        let waiter = wait_in_queue(&server, &locks, 1).await;
        let before = scripts(&server).await;
        sleep(SECOND).await;
        // After 64, 128, 256 and 512 ms.
        let asked = scripts(&server).await - before;
        assert!(asked <= 8, "{asked} questions beside {value}");
        server.command::<u8>(&["DEL", "lock:k"]).await;
        gets(waiter).await.release().await.unwrap();
    }
    let hyphens = ours.replace('-', "");
    for value in ["theirs", ours, &hyphens, &ours.to_uppercase(), &format!("{ours}:1"), &format!("x{ours}")] {
        server.command::<()>(&["SET", "lock:k", value, "PX", "600000"]).await;
        let waiter = wait_in_queue(&server, &locks, 1).await;
        let before = scripts(&server).await;
        // Beside a holder of ours it would take a minute.
        eventually(SOON, || async { scripts(&server).await >= before + 50 }).await;
        server.command::<u8>(&["DEL", "lock:k"]).await;
        gets(waiter).await.release().await.unwrap();
    }
}

/// Redisson's lock is a hash with a field for its owner.
#[tokio::test]
async fn a_lock_that_is_a_hash_is_a_typed_error() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    let redisson = async || {
        server.command::<u8>(&["HSET", "theirs", "285475da-9152-4c83-822a-67ee2f116a79:52", "1"]).await;
        server.command::<u8>(&["PEXPIRE", "theirs", "600000"]).await;
    };
    let is_typed = |error: LockError| {
        let LockError::Store { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), StoreErrorKind::WrongType);
        assert!(error.to_string().contains("such as Redisson's hash); choose another key"), "{error}");
    };
    // A waiter that is queued already.
    server.command::<()>(&["SET", "lock:k", "theirs", "PX", "600000"]).await;
    let waiter = tokio::spawn(locks.lock("k").wait_forever().acquire());
    queue_has(&server, 1).await;
    redisson().await;
    server.command::<()>(&["RENAME", "theirs", "lock:k"]).await;
    is_typed(in_time(SOON, waiter).await.unwrap().unwrap_err());
    eventually(SOON, || async { queue_length(&server).await == 0 }).await;
    // Newcomers.
    is_typed(locks.lock("k").acquire().await.unwrap_err());
    is_typed(locks.lock("k").wait(SOON).acquire().await.unwrap_err());
    assert_eq!(server.command::<u8>(&["HLEN", "lock:k"]).await, 1);
}

#[tokio::test]
async fn a_queue_without_waiters_lapses_after_another_library_was_seen() {
    let server = RedisServer::start();
    let locks = manager(server.url()).await;
    // The queue lasts for as long as the lease that was handed over, and no longer than 10 s after its end.
    for request in [locks.lock("k"), locks.lock("k").ttl(MINUTE)] {
        server.command::<()>(&["SET", "lock:k", "theirs", "PX", "600000"]).await;
        let waiter = wait_for(request);
        queue_has(&server, 1).await;
        server.command::<u8>(&["DEL", "lock:k"]).await;
        gets(waiter).await.release().await.unwrap();
    }
    eventually(SECOND * 12, || async { server.keys().await.is_empty() }).await;
}
