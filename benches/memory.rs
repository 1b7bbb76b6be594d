//! Measures how much of this process's memory a held lease and a waiting task take, and how many commands the
//! server gets for renewal.
//!
//! `cargo bench --bench memory`
//!
//! The memory is the resident memory, read from the system. Each figure is measured in a process of its own,
//! because a later measurement in the same process would reuse pages of an earlier one and show too little.

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use distlock::{LockGuard, LockManager};
use test_support::RedisServer;
use tokio::{runtime::Runtime, task::JoinSet};

const NUMBERS: [usize; 2] = [10_000, 100_000];

fn main() {
    let args: Vec<String> = env::args().collect();
    if let [_, what, number, url] = args.as_slice() {
        let number = number.parse().expect("a number");
        let figure = Runtime::new().expect("a runtime").block_on(async {
            let locks = LockManager::connect(url).await.expect("a manager");
            match what.as_str() {
                "held" => held(&locks, number).await,
                "waiting" => waiting(&locks, number).await,
                _ => panic!("no figure {what}"),
            }
        });
        return println!("{figure}");
    }
    let server = RedisServer::start();
    println!("{:<10} {:>9}  resident bytes each", "", "number");
    for what in ["held", "waiting"] {
        for number in NUMBERS {
            let mut measure = Command::new(env::current_exe().expect("this program"));
            let output =
                measure.args([what, &number.to_string(), &server.url()]).output().expect("a process");
            println!("{what:<10} {number:>9}  {}", String::from_utf8_lossy(&output.stdout).trim());
        }
    }
    Runtime::new().expect("a runtime").block_on(renewals(&server));
}

/// This process's resident memory in bytes, as Linux reports it.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

/// Acquires `number` keys, 500 at a time.
async fn acquire(locks: &LockManager, number: usize, ttl: Duration) -> Vec<LockGuard> {
    let mut guards = Vec::with_capacity(number);
    for first in (0..number).step_by(500) {
        let mut some = JoinSet::new();
        for key in first..first + 500 {
            some.spawn(locks.lock(format!("key:{key:06}")).ttl(ttl).acquire());
        }
        guards.extend(some.join_all().await.into_iter().map(|guard| guard.expect("a free key")));
    }
    guards
}

/// Measures the memory of a held lease.
async fn held(locks: &LockManager, number: usize) -> String {
    drop(acquire(locks, 500, Duration::from_secs(60)).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = resident();
    let guards = acquire(locks, number, Duration::from_secs(60)).await;
    let each = (resident() - before) / guards.len();
    locks.shutdown().await;
    format!("{each}, the guard and the key's text of 10 bytes included")
}

/// Measures the memory of a waiting task.
async fn waiting(locks: &LockManager, number: usize) -> String {
    let _held = locks.lock("one").acquire().await.expect("a free key");
    let before = resident();
    let mut tasks = JoinSet::new();
    for _ in 0..number {
        tasks.spawn(locks.lock("one").wait_forever().acquire());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = (resident() - before) / number;
    locks.shutdown().await;
    format!("{each}, the task included")
}

/// Prints how many commands the server counts for one lease in a third of its ttl, and their peak.
async fn renewals(server: &RedisServer) {
    const NUMBER: usize = 100_000;
    let locks = LockManager::connect(server.url()).await.expect("a manager");
    let ttl = Duration::from_secs(12);
    let start = Instant::now();
    let guards = acquire(&locks, NUMBER, ttl).await;
    let before = server.calls(&["evalsha", "eval"]).await;
    let (from, mut calls, mut peak) = (Instant::now(), 0, 0.0_f64);
    while from.elapsed() < ttl * 2 {
        let (at, until_now) = (Instant::now(), calls);
        tokio::time::sleep(ttl / 60).await;
        calls = server.calls(&["evalsha", "eval"]).await - before;
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rate = (calls - until_now) as f64 / at.elapsed().as_secs_f64();
        peak = peak.max(rate);
    }
    let seconds = from.elapsed().as_secs_f64();
    let thirds = seconds / (ttl.as_secs_f64() / 3.0);
    let held = guards.iter().filter(|guard| guard.is_held()).count();
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = calls as f64 / NUMBER as f64 / thirds;
    println!("\nrenewal of {NUMBER} leases of {ttl:?}, {:?} after the first:", start.elapsed());
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let mean = calls as f64 / seconds;
    println!(
        "  {held} held, {each:.2} commands per lease and ttl/3, at most {:.2} of the mean in 200 ms",
        peak / mean
    );
    let start = Instant::now();
    locks.shutdown().await;
    println!("  shutdown, which releases all of them: {:?}", start.elapsed());
}
