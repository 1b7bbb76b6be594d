//! Measures how the order of grants between processes differs from the order in which they asked.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use distlock::LockManager;
use test_support::RedisServer;
use tokio::runtime::Builder;

use crate::{Outcome, measure::now};

const PROCESSES: usize = 8;
const LASTS: Duration = Duration::from_secs(5);
/// Calls that begin earlier do not count: processes start, and make the connections that they wait over.
const WARM_UP: Duration = Duration::from_secs(1);

/// When a call began, and when it was granted the key (ns).
type Grant = [u64; 2];

/// Prints how many grants were overtaken, and by how many later calls. 8 processes with a task each take one
/// key without a pause.
pub fn run() -> Outcome<()> {
    println!("{PROCESSES} processes, a task each, one key, {} s", LASTS.as_secs());
    println!("  {:<10} {:>8} {:>10}   places, from one on: grants", "body", "grants", "overtaken");
    for body_ms in [0, 1, 3] {
        let server = RedisServer::start();
        let mut workers = Vec::new();
        for _ in 0..PROCESSES {
            let mut worker = Command::new(std::env::current_exe()?);
            worker.args(["order", &server.url(), &body_ms.to_string()]).stdout(Stdio::piped());
            workers.push(worker.spawn()?);
        }
        let mut grants: Vec<Grant> = Vec::new();
        for mut worker in workers {
            for line in BufReader::new(worker.stdout.take().ok_or("no output")?).lines() {
                let line = line?;
                let (arrival, granted) = line.split_once(' ').ok_or("no pair")?;
                grants.push([arrival.parse()?, granted.parse()?]);
            }
            worker.wait()?;
        }
        let places = places(grants, WARM_UP.as_nanos() as u64);
        let overtaken = places.iter().filter(|places| **places > 0).count();
        let most = places.iter().copied().max().unwrap_or(0);
        let counts: Vec<_> = (1..=most)
            .map(|number| places.iter().filter(|places| **places == number).count().to_string())
            .collect();
        let share = overtaken as f64 / places.len() as f64 * 100.0;
        println!("  {body_ms:>7} ms {:>8} {share:>8.1} %   {}", places.len(), counts.join(", "));
    }
    Ok(())
}

/// For each grant, how many calls that began later were granted the key before.
fn places(mut grants: Vec<Grant>, warm_up: u64) -> Vec<usize> {
    grants.sort_unstable_by_key(|[_, granted]| *granted);
    let begin = grants.first().map_or(0, |[_, granted]| granted + warm_up);
    let overtook = |at: usize| {
        let [arrival, _] = grants[at];
        // A process has one call at a time, so that a call is overtaken by calls of the last few turns only.
        let before = grants[..at].iter().rev().take_while(|[_, granted]| *granted > arrival);
        before.filter(|[other, _]| *other > arrival).count()
    };
    (0..grants.len()).filter(|at| grants[*at][0] >= begin).map(overtook).collect()
}

/// The part of one process.
pub fn work(url: &str, body_ms: u64) -> Outcome<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let grants = runtime.block_on(async {
        let manager = LockManager::connect(url).await?;
        let (mut grants, end) = (Vec::new(), Instant::now() + WARM_UP + LASTS);
        while Instant::now() < end {
            let arrival = now();
            let guard = manager.lock("order").wait_forever().acquire().await?;
            grants.push([arrival, now()]);
            if body_ms > 0 {
                tokio::time::sleep(Duration::from_millis(body_ms)).await;
            }
            guard.release().await?;
        }
        Outcome::Ok(grants)
    })?;
    for [arrival, granted] in grants {
        println!("{arrival} {granted}");
    }
    Ok(())
}
