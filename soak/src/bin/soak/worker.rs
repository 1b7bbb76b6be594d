//! One process of the soak: tasks that take locks, work under them, and write down what happened.

use std::{
    error::Error,
    fs::{File, OpenOptions},
    io::{BufRead, Read, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use distlock::{LockError, LockGuard, LockManager, distributed_lock};

use soak::{
    clock::{Nanos, nanos, now},
    history::Event,
};

pub(crate) const KEYS: u32 = 4;
pub(crate) const TTL: Duration = Duration::from_millis(600);
const TASKS: u64 = 6;

/// What the body saw.
struct Seen {
    leased: Nanos,
    start: Nanos,
    end: Nanos,
}

#[distributed_lock(key = "soak:{key}", ttl = TTL, wait = "400ms", guard = lock, locks = locks)]
async fn section(locks: &LockManager, key: u32, work: Duration) -> Result<Seen, LockError> {
    Ok(steps(lock, work).await)
}

/// The same in a task that takes leases over from its neighbours.
#[distributed_lock(key = "soak:{key}", ttl = TTL, wait = "400ms", fair = false, guard = lock, locks = locks)]
async fn unfair_section(locks: &LockManager, key: u32, work: Duration) -> Result<Seen, LockError> {
    Ok(steps(lock, work).await)
}

/// In steps, so that there are awaits to be stopped at.
async fn steps(lock: &LockGuard, work: Duration) -> Seen {
    let start = now();
    let leased = start.saturating_sub(nanos(TTL.saturating_sub(lock.remaining())));
    for _ in 0..4 {
        tokio::time::sleep(work / 4).await;
    }
    Seen { leased, start, end: now() }
}

/// What a worker is told on its standard input.
const AT_WAR: u8 = 0;
/// A line has come: from now on only short bodies.
const AT_PEACE: u8 = 1;
/// It has ended.
const AT_REST: u8 = 2;

/// Works until its standard input ends, then finishes what it has begun.
pub(crate) async fn work(
    url: &str,
    record: &Path,
    worker: u64,
    seed: u64,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let locks = LockManager::builder().url(url).response_timeout(Duration::from_millis(300)).build()?;
    let told = Arc::new(AtomicU8::new(AT_WAR));
    let mut random = fastrand::Rng::with_seed(seed + worker);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (locks, told, random) = (locks.clone(), Arc::clone(&told), random.fork());
        let record = OpenOptions::new().create(true).append(true).open(record)?;
        tasks.spawn(async move { run(&locks, &told, &record, worker, random).await });
    }
    let orders = Arc::clone(&told);
    tokio::task::spawn_blocking(move || {
        let mut input = std::io::stdin().lock();
        input.read_line(&mut String::new())?;
        orders.store(AT_PEACE, Ordering::Relaxed);
        input.read_to_end(&mut Vec::new())
    })
    .await??;
    told.store(AT_REST, Ordering::Relaxed);
    for result in tasks.join_all().await {
        result?;
    }
    locks.shutdown().await;
    Ok(())
}

async fn run(
    locks: &LockManager,
    told: &AtomicU8,
    mut record: &File,
    worker: u64,
    mut random: fastrand::Rng,
) -> std::io::Result<()> {
    loop {
        let told = told.load(Ordering::Relaxed);
        if told == AT_REST {
            return Ok(());
        }
        let key = random.u32(0..KEYS);
        // Some outlast several renewals.
        let longest = if told == AT_WAR && random.u8(0..20) == 0 { 1500 } else { 20 };
        let work = Duration::from_micros(random.u64(100..longest * 1000));
        let asked = now();
        let section = if random.bool() {
            section(locks, key, work).await
        } else {
            unfair_section(locks, key, work).await
        };
        let event = match section {
            Ok(Seen { leased, start, end }) => {
                Event::Ran { key, leased, start, end, waited: start - asked, worker }
            }
            Err(LockError::Busy { .. }) => Event::Busy,
            Err(LockError::Lost { .. }) => Event::Lost { key },
            Err(_) => Event::Failed,
        };
        // One write a line: lines of several tasks and processes stay whole.
        record.write_all(format!("{event}\n").as_bytes())?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..4))).await;
    }
}
