//! Measures how much of a process's memory a held lease and a waiting task take, and how the renewals of many
//! leases are spread over time.
//!
//! The memory is the resident memory, read from the system. Each figure is measured in a fresh process,
//! because a later measurement in the same process would reuse pages of an earlier one and show too little.

use std::{
    fs,
    time::{Duration, Instant},
};

use distlock::{LockError, LockGuard, LockManager, distributed_lock};
use test_support::RedisServer;
use tokio::{runtime::Builder, task::JoinSet, time::sleep};

use crate::{
    Outcome,
    table::{Target, print_row},
    turns::fresh,
};

/// The ttl of the leases that are renewed.
const TTL: Duration = Duration::from_secs(12);

/// Prints the rows of memory and renewal.
pub fn rows() -> Outcome<()> {
    let server = RedisServer::start();
    for (what, number, row, target) in [
        ("held", "10000", "a held lease, bytes each of 10,000", Target::AtMost(1000.0)),
        ("held", "100000", "a held lease, bytes each of 100,000", Target::AtMost(1000.0)),
        ("waiting", "10000", "a task that waits by `acquire`, bytes each of 10,000", Target::None),
        (
            "attribute",
            "10000",
            "a task that waits by the attribute, bytes each of 10,000",
            Target::AtMost(1800.0),
        ),
    ] {
        print_row(row, &fresh(&["memory", what, number, &server.url()])?, &[], target);
    }
    let size = fresh(&["memory", "futures", "1", &server.url()])?;
    print_row("the future of `acquire`, bytes", &size[..1], &[], Target::None);
    print_row("the future of a function with the attribute, bytes", &size[1..], &[], Target::None);
    let [each, peak, held, shutdown] = fresh(&["renewals", &server.url()])?[..] else {
        return Err("four numbers".into());
    };
    eprintln!("{held} of 100,000 leases are held after two ttls; shutdown released them in {shutdown:.2} s");
    print_row("100,000 leases: renewals each in a third of the ttl", &[each], &[], Target::AtMost(1.0));
    print_row(
        "100,000 leases: renewals of the busiest 200 ms, of the mean",
        &[peak],
        &[],
        Target::AtMost(2.0),
    );
    Ok(())
}

/// The part of one process: prints how many bytes each of `number` leases or waiting tasks takes, or the
/// sizes of two futures.
pub fn work(what: &str, number: usize, url: &str) -> Outcome<()> {
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let locks = LockManager::connect(url).await?;
        distlock::set_default(locks.clone());
        if what == "futures" {
            println!("{} {}", size_of_val(&locks.lock("one").acquire()), size_of_val(&wait()));
            return Ok(());
        }
        let bytes = match what {
            "held" => held(&locks, number).await?,
            "waiting" => waiting(&locks, number, || locks.lock("one").wait_forever().acquire()).await?,
            "attribute" => waiting(&locks, number, wait).await?,
            _ => return Err(format!("no figure {what}").into()),
        };
        println!("{bytes}");
        locks.shutdown().await;
        Ok(())
    })
}

#[distributed_lock(key = "one", wait = forever)]
async fn wait() -> Result<(), LockError> {
    Ok(())
}

/// This process's resident memory in bytes, as Linux reports it.
fn resident() -> Outcome<usize> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    Ok(statm.split(' ').nth(1).ok_or("no pages")?.parse::<usize>()? * 4096)
}

/// Acquires `number` keys, 500 at a time.
async fn acquire(locks: &LockManager, number: usize, ttl: Duration) -> Outcome<Vec<LockGuard>> {
    let mut guards = Vec::with_capacity(number);
    for first in (0..number).step_by(500) {
        let mut some = JoinSet::new();
        for key in first..first + 500 {
            some.spawn(locks.lock(format!("key:{key:06}")).ttl(ttl).acquire());
        }
        for guard in some.join_all().await {
            guards.push(guard?);
        }
    }
    Ok(guards)
}

/// Measures a held lease, with the guard and the key's text of 10 bytes.
async fn held(locks: &LockManager, number: usize) -> Outcome<usize> {
    drop(acquire(locks, 500, Duration::from_secs(60)).await?);
    sleep(Duration::from_millis(300)).await;
    let before = resident()?;
    let guards = acquire(locks, number, Duration::from_secs(60)).await?;
    Ok((resident()? - before) / guards.len())
}

/// Measures a task that waits.
async fn waiting<F>(locks: &LockManager, number: usize, wait: impl Fn() -> F) -> Outcome<usize>
where
    F: Future<Output: Send> + Send + 'static,
{
    let _held = locks.lock("one").acquire().await?;
    let before = resident()?;
    let mut tasks = JoinSet::new();
    for _ in 0..number {
        tasks.spawn(wait());
    }
    sleep(Duration::from_secs(2)).await;
    let bytes = (resident()? - before) / number;
    tasks.abort_all();
    Ok(bytes)
}

/// The part of one process: prints how many renewals the server counts for each of 100,000 leases in a third
/// of the ttl, those of the busiest 200 ms as a ratio to the mean, how many leases are held at the end, and
/// how many seconds `shutdown` takes.
pub fn renewals(url: &str) -> Outcome<()> {
    const NUMBER: usize = 100_000;
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let mut server = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        let mut calls = async || -> Outcome<f64> {
            let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut server).await?;
            let calls = |line: &str| -> Option<f64> {
                let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
                ["evalsha", "eval"].contains(&name).then(|| rest.split(',').next()?.parse().ok())?
            };
            Ok(stats.lines().filter_map(calls).sum())
        };
        let locks = LockManager::connect(url).await?;
        let guards = acquire(&locks, NUMBER, TTL).await?;
        let first = calls().await?;
        let (from, mut last, mut peak) = (Instant::now(), first, 0.0_f64);
        while from.elapsed() < TTL * 2 {
            let at = Instant::now();
            sleep(TTL / 60).await;
            let now = calls().await?;
            peak = peak.max((now - last) / at.elapsed().as_secs_f64());
            last = now;
        }
        let (all, seconds) = (last - first, from.elapsed().as_secs_f64());
        let thirds = seconds / (TTL.as_secs_f64() / 3.0);
        let held = guards.iter().filter(|guard| guard.is_held()).count();
        let start = Instant::now();
        locks.shutdown().await;
        let each = all / NUMBER as f64 / thirds;
        println!("{each} {} {held} {}", peak / (all / seconds), start.elapsed().as_secs_f64());
        Ok(())
    })
}
