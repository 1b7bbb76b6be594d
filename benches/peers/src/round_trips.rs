//! Measures calls over a proxy that delays them, in units of the round trip.

use std::time::{Duration, Instant};

use distlock::{LockError, LockGuard, LockManager};
use redis::aio::MultiplexedConnection;
use test_support::RedisServer;
use tokio::runtime::Builder;

use crate::{
    Outcome,
    contended::{Contention, hand_overs},
    delay,
    measure::quantile,
    table::{Target, print_row},
    turns::in_turns,
};

const ROUND_TRIPS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(10)];
const TTL: Duration = Duration::from_secs(30);
/// How often a process repeats each call.
const REPEATED: usize = 15;
/// How many round trips more than the target a call may take: the server and the client take their time too.
const TOLERANCE: f64 = 0.2;

/// The calls, in the order in which [`Calls::measure`] returns their latencies, with their targets.
const CALLS: [(&str, f64); 7] = [
    ("a free key", 1.0),
    ("a free key, fenced, with `wait`", 1.0),
    ("a miss, key not found held lately", 1.0),
    ("a miss, key found held lately", 1.0),
    ("a waiter's entry into the queue, key found held lately", 1.0),
    ("a process's first fenced grant, with `wait`", 2.0),
    ("a process's first wait, until it is in the queue", 2.0),
];

/// The part of one process: prints the median of each call, in round trips. `near` is the server's own URL,
/// and `far` is the proxy's.
pub fn work(near: &str, far: &str) -> Outcome<()> {
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let unit = round_trip(far).await?;
        let calls = Calls {
            far: far.to_owned(),
            locks: LockManager::connect(far).await?,
            rival: LockManager::connect(near).await?,
            server: redis::Client::open(near)?.get_multiplexed_async_connection().await?,
        };
        let mut all = vec![Vec::new(); CALLS.len()];
        for turn in 0..REPEATED {
            let measured = calls.measure(turn).await?;
            all.iter_mut().zip(measured).for_each(|(all, time)| all.push(time.as_secs_f64() / unit));
        }
        for (which, times) in all.into_iter().enumerate() {
            // An entry into the queue is seen at the server, and not back at the client.
            let way_back = if [4, 6].contains(&which) { 0.5 } else { 0.0 };
            println!("{}", quantile(times, 0.5) + way_back);
        }
        Ok(())
    })
}

/// Returns how long a PING takes, in seconds.
async fn round_trip(url: &str) -> Outcome<f64> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut times = Vec::new();
    for _ in 0..40 {
        let start = Instant::now();
        redis::cmd("PING").exec_async(&mut connection).await?;
        times.push(start.elapsed().as_secs_f64());
    }
    Ok(quantile(times, 0.5))
}

struct Calls {
    far: String,
    /// Connected over the proxy.
    locks: LockManager,
    /// Connected to the server itself.
    rival: LockManager,
    server: MultiplexedConnection,
}

impl Calls {
    /// Makes each call once. Returns how long each took, in the order of [`CALLS`].
    async fn measure(&self, turn: usize) -> Outcome<[Duration; CALLS.len()]> {
        let key = |name| format!("{name}:{turn}");
        let free = granted(self.locks.lock(key("free")).ttl(TTL)).await?;
        let fenced = granted(self.locks.lock(key("fenced")).ttl(TTL).fenced().wait(TTL)).await?;
        let held = self.rival.lock(key("held")).ttl(TTL).acquire().await?;
        let miss = self.miss(&key("held")).await?;
        let later_miss = self.miss(&key("held")).await?;
        self.enters(&self.locks, &key("held")).await?;
        let enters = self.enters(&self.locks, &key("held")).await?;
        let locks = LockManager::connect(&self.far).await?;
        let first_fenced = granted(locks.lock(key("first")).ttl(TTL).fenced().wait(TTL)).await?;
        locks.shutdown().await;
        let locks = LockManager::connect(&self.far).await?;
        let first_wait = self.enters(&locks, &key("held")).await?;
        locks.shutdown().await;
        held.release().await?;
        Ok([free, fenced, miss, later_miss, enters, first_fenced, first_wait])
    }

    /// Makes one attempt at a key that the rival holds.
    async fn miss(&self, key: &str) -> Outcome<Duration> {
        let start = Instant::now();
        let missed = self.locks.lock(key).ttl(TTL).acquire().await;
        match missed {
            Err(LockError::Busy { remaining: Some(_), .. }) => Ok(start.elapsed()),
            other => Err(format!("not busy: {other:?}").into()),
        }
    }

    /// Waits for a key that the rival holds, until the server has a queue for it.
    async fn enters(&self, locks: &LockManager, key: &str) -> Outcome<Duration> {
        let before = self.keys().await?;
        let request = locks.lock(key).ttl(TTL).wait_forever();
        let start = Instant::now();
        let waiter = tokio::spawn(request.acquire());
        while self.keys().await? == before {}
        let taken = start.elapsed();
        waiter.abort();
        while self.keys().await? != before {}
        Ok(taken)
    }

    /// Returns how many keys the server has.
    async fn keys(&self) -> Outcome<usize> {
        Ok(redis::cmd("DBSIZE").query_async(&mut self.server.clone()).await?)
    }
}

/// Returns how long a request takes until it is granted, and releases the key.
async fn granted(request: distlock::LockRequest) -> Outcome<Duration> {
    let start = Instant::now();
    let guard: LockGuard = request.acquire().await?;
    let taken = start.elapsed();
    guard.release().await?;
    Ok(taken)
}

/// Prints the rows of calls over a proxy.
pub fn rows(rounds: usize) -> Outcome<()> {
    for delay in ROUND_TRIPS {
        let server = RedisServer::start();
        let (near, far) = (server.url(), delay::proxy(server.port(), delay)?);
        let all = in_turns(rounds, &[&["round-trips", &near, &far]])?;
        for ((what, target), values) in CALLS.iter().zip(&all[0]) {
            let what = format!("{} ms away: {what}, round trips", delay.as_millis());
            print_row(&what, values, &[], Target::About(*target, TOLERANCE));
        }
        let unit = Builder::new_multi_thread().enable_all().build()?.block_on(round_trip(&far))? * 1e6;
        // Of the longer sections, the other tasks are in the queue again long before their turn.
        for section in [delay * 2, Duration::from_millis(1)] {
            let contention = Contention { processes: 4, tasks_each: 1, section, pause: Duration::ZERO };
            let (mut list, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                list.push(hand_overs("blocking list", &server, &far, contention)?.p50 / unit);
                ours.push(hand_overs("distlock", &server, &far, contention)?.p50 / unit);
            }
            let what = format!(
                "{} ms away, 4 processes, sections of {} ms: hand-over, p50, round trips (list: {:.2})",
                delay.as_millis(),
                section.as_millis(),
                quantile(list, 0.5)
            );
            print_row(&what, &ours, &[], Target::About(1.0, TOLERANCE));
        }
    }
    Ok(())
}
