//! The soak on one server: worker processes take locks on a Redis server that is paused, killed, disconnected
//! and emptied, in a random order from a seed. Then the record of all bodies is checked for two of one key
//! that ran at the same time.
//!
//! ```sh
//! cargo run --release -p soak -- --minutes 10 --seed 7
//! ```
//! The program starts its own `redis-server`, with an append-only file that is synced at each write, so that
//! the server keeps its data when it is killed. The program ends with exit code 1 if bodies overlap, a worker
//! fails, a key stays on the server, or a worker makes no progress after the faults have stopped.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

mod nemesis;
mod worker;

use nemesis::{Workers, strike};
use soak::{
    clock::{nanos, now},
    history::{Event, overlaps, stuck},
    options,
};
use test_support::{Proxy, RedisServer};

const WORKERS: usize = 3;
/// How long the workers go on after the last fault: longer than a body that began before it, and one ttl
/// more.
const PEACE: Duration = Duration::from_millis(2500);

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["worker", url, record, worker, seed] => match (worker.parse(), seed.parse()) {
            (Ok(worker), Ok(seed)) => worker::work(url, Path::new(record), worker, seed).await.map(|()| true),
            _ => Err("the worker and its seed must be numbers".into()),
        },
        words => match options::read(words) {
            Ok((duration, seed)) => run(duration, seed).await,
            Err(error) => Err(error.into()),
        },
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(duration: Duration, seed: u64) -> Result<bool, Box<dyn Error + Send + Sync>> {
    println!("soak: seed {seed}, {} s, {WORKERS} processes, {} keys", duration.as_secs(), worker::KEYS);
    let directory = env::temp_dir().join(format!("distlock-soak-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let outcome = under_fire(duration, seed, &directory).await;
    fs::remove_dir_all(&directory)?;
    outcome
}

async fn under_fire(
    duration: Duration,
    seed: u64,
    directory: &Path,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let record = directory.join("record");
    fs::write(&record, "")?;
    let data = directory.to_string_lossy();
    let mut server =
        RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always", "--dir", &data]);
    let proxy = Proxy::to(server.port()).await;
    let mut workers = Workers::start(WORKERS, proxy.url(), record.clone(), seed)?;

    let mut random = fastrand::Rng::with_seed(seed);
    let mut faults: BTreeMap<&str, u32> = BTreeMap::new();
    let (start, mut reported) = (Instant::now(), Instant::now());
    while start.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(random.u64(20..400))).await;
        let fault = strike(&mut random, &mut server, &proxy, &mut workers, &record).await?;
        *faults.entry(fault).or_default() += 1;
        if reported.elapsed() > Duration::from_secs(10) {
            reported = Instant::now();
            let bodies = read(&record)?.iter().filter(|event| matches!(event, Event::Ran { .. })).count();
            println!(
                "soak: {:4} s, {} faults, {bodies} bodies run",
                start.elapsed().as_secs(),
                faults.values().sum::<u32>()
            );
        }
    }

    // After the faults: every process must make progress within a ttl, and the leases of killed processes
    // must have lapsed.
    let peace = now();
    let numbers = workers.calm()?;
    tokio::time::sleep(PEACE).await;
    let ended_well = workers.finish();
    let events = read(&record)?;
    tokio::time::sleep(worker::TTL).await;
    let remaining = server.keys().await;
    let stuck = stuck(&events, &numbers, peace, nanos(worker::TTL));
    Ok(report(&events, &faults, &stuck, ended_well, &remaining))
}

fn read(record: &Path) -> Result<Vec<Event>, String> {
    let text = fs::read_to_string(record).map_err(|error| error.to_string())?;
    // A worker may have been killed while it wrote the last line.
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    complete.lines().map(str::parse).collect()
}

fn report(
    events: &[Event],
    faults: &BTreeMap<&str, u32>,
    stuck: &[u64],
    ended_well: bool,
    remaining: &[String],
) -> bool {
    let count = |is: fn(&Event) -> bool| events.iter().filter(|event| is(event)).count();
    let waited = |event: &Event| match *event {
        Event::Ran { waited, .. } => Some(waited),
        _ => None,
    };
    let longest = events.iter().filter_map(waited).max().unwrap_or_default();
    // If the renewal after a deletion meets another fault, the lease is believed in until its validity ends.
    let overlaps = overlaps(events, nanos(worker::TTL));
    println!("\nfaults");
    for (fault, times) in faults {
        println!("  {fault:<28} {times:6}");
    }
    println!("calls");
    println!("  {:<28} {:6}", "bodies run to their end", count(|event| matches!(event, Event::Ran { .. })));
    println!("  {:<28} {:6}", "busy", count(|event| matches!(event, Event::Busy)));
    println!("  {:<28} {:6}", "lost", count(|event| matches!(event, Event::Lost { .. })));
    println!("  {:<28} {:6}", "store errors", count(|event| matches!(event, Event::Failed)));
    println!("  {:<28} {:6} ms", "longest wait", longest / 1_000_000);
    println!("afterwards");
    println!("  {:<28} {:6}", "workers stuck", stuck.len());
    println!("  {:<28} {:6}", "keys left", remaining.len());
    println!("  {:<28} {:6}", "overlaps", overlaps.len());
    for overlap in overlaps.iter().take(5) {
        println!("    {overlap:?}");
    }
    if !ended_well {
        println!("  a worker failed");
    }
    overlaps.is_empty() && ended_well && remaining.is_empty() && stuck.is_empty()
}
