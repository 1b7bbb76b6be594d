//! A worker process of the soak: tasks that take locks, work while they hold them, and record what happened.

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

/// What a body reports.
struct Report {
    leased: Nanos,
    start: Nanos,
    end: Nanos,
}

#[distributed_lock(key = "soak:{key}", ttl = TTL, wait = "400ms", guard = lock, locks = locks)]
async fn section(locks: &LockManager, key: u32, work: Duration) -> Result<Report, LockError> {
    Ok(steps(lock, work).await)
}

/// Like `section`, but the lease may be handed over by another task of this process.
#[distributed_lock(key = "soak:{key}", ttl = TTL, wait = "400ms", fair = false, guard = lock, locks = locks)]
async fn unfair_section(locks: &LockManager, key: u32, work: Duration) -> Result<Report, LockError> {
    Ok(steps(lock, work).await)
}

/// The work, in steps: a lost lease stops a body at an await.
async fn steps(lock: &LockGuard, work: Duration) -> Report {
    let start = now();
    let leased = start.saturating_sub(nanos(TTL.saturating_sub(lock.remaining())));
    for _ in 0..4 {
        tokio::time::sleep(work / 4).await;
    }
    Report { leased, start, end: now() }
}

/// There are faults.
const AT_WAR: u8 = 0;
/// The faults have stopped, as a line on the standard input has told: the tasks begin only short bodies.
const AT_PEACE: u8 = 1;
/// The standard input has ended: the tasks end.
const AT_REST: u8 = 2;

/// Works until the standard input ends. The bodies that have begun by then run to their end.
pub(crate) async fn work(
    url: &str,
    record: &Path,
    worker: u64,
    seed: u64,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let locks = LockManager::builder().url(url).response_timeout(Duration::from_millis(300)).build()?;
    let phase = Arc::new(AtomicU8::new(AT_WAR));
    let mut random = fastrand::Rng::with_seed(seed + worker);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (locks, phase, random) = (locks.clone(), Arc::clone(&phase), random.fork());
        let record = OpenOptions::new().create(true).append(true).open(record)?;
        tasks.spawn(async move { run(&locks, &phase, &record, worker, random).await });
    }
    let input_phase = Arc::clone(&phase);
    tokio::task::spawn_blocking(move || {
        let mut input = std::io::stdin().lock();
        input.read_line(&mut String::new())?;
        input_phase.store(AT_PEACE, Ordering::Relaxed);
        input.read_to_end(&mut Vec::new())
    })
    .await??;
    phase.store(AT_REST, Ordering::Relaxed);
    for result in tasks.join_all().await {
        result?;
    }
    locks.shutdown().await;
    Ok(())
}

async fn run(
    locks: &LockManager,
    phase: &AtomicU8,
    mut record: &File,
    worker: u64,
    mut random: fastrand::Rng,
) -> std::io::Result<()> {
    loop {
        let phase = phase.load(Ordering::Relaxed);
        if phase == AT_REST {
            return Ok(());
        }
        let key = random.u32(0..KEYS);
        // Some bodies last for several renewals.
        let longest = if phase == AT_WAR && random.u8(0..20) == 0 { 1500 } else { 20 };
        let work = Duration::from_micros(random.u64(100..longest * 1000));
        let asked = now();
        let section = if random.bool() {
            section(locks, key, work).await
        } else {
            unfair_section(locks, key, work).await
        };
        let event = match section {
            Ok(Report { leased, start, end }) => {
                Event::Ran { key, leased, start, end, waited: start - asked, worker }
            }
            Err(LockError::Busy { .. }) => Event::Busy,
            Err(LockError::Lost { .. }) => Event::Lost { key },
            Err(_) => Event::Failed,
        };
        // Each line is one write, so that the lines of several processes do not mix.
        record.write_all(format!("{event}\n").as_bytes())?;
        tokio::time::sleep(Duration::from_millis(random.u64(0..4))).await;
    }
}
