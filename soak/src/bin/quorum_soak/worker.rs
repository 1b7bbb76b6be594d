//! A worker process: tasks that take locks, and write to a resource with their fencing tokens.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use distlock::{LockError, LockManager};

use soak::{clock::now, quorum_history::Entry};

use crate::Outcome;

pub(crate) const TTL: Duration = Duration::from_millis(600);
const KEYS: u32 = 2;
const TASKS: u64 = 4;

/// Works until the standard input ends.
pub(crate) async fn work(url: &str, directory: &Path, seed: u64) -> Outcome<()> {
    let builder = LockManager::builder().url(url).ttl(TTL).restart_delay(TTL);
    let locks = builder.response_timeout(Duration::from_millis(200)).build()?;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (locks, is_over, random) = (locks.clone(), Arc::clone(&is_over), random.fork());
        let record = OpenOptions::new().append(true).open(directory.join("record"))?;
        let resource = directory.join("resource");
        tasks.spawn(async move { run(&locks, &is_over, &record, &resource, random).await });
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    is_over.store(true, Ordering::Relaxed);
    for result in tasks.join_all().await {
        result?;
    }
    locks.shutdown().await;
    Ok(())
}

async fn run(
    locks: &LockManager,
    is_over: &AtomicBool,
    mut record: &File,
    resource: &Path,
    mut random: fastrand::Rng,
) -> Outcome<()> {
    // Each line is one write, so that the lines of several processes do not mix.
    let mut note = |entry: Entry| record.write_all(format!("{entry}\n").as_bytes());
    while !is_over.load(Ordering::Relaxed) {
        let key = random.u32(0..KEYS);
        let asked = now();
        let lock = locks.lock(format!("soak:{key}")).wait(Duration::from_millis(400)).fenced();
        match lock.acquire().await {
            Ok(guard) => {
                let (token, at) = (guard.fencing_token().ok_or("no token")?.value(), now());
                note(Entry::Granted { key, token, asked, at })?;
                let work = Duration::from_micros(random.u64(0..20_000));
                let section = guard.run(async {
                    let start = now();
                    tokio::time::sleep(work).await;
                    (start, now())
                });
                if let Ok((start, end)) = section.await {
                    note(Entry::Ran { key, start, end })?;
                }
                // Even if the lease was lost, as a process would that was suspended here.
                let accepted = write(&resource.with_extension(key.to_string()), token)?;
                note(Entry::Wrote { accepted })?;
                let _ = guard.release().await;
            }
            Err(LockError::Busy { .. }) => note(Entry::Busy)?,
            Err(_) => note(Entry::Failed)?,
        }
        tokio::time::sleep(Duration::from_millis(random.u64(0..5))).await;
    }
    Ok(())
}

/// Writes to a resource that refuses a token below the highest one that it has accepted. The resource keeps
/// all accepted tokens, in their order. Returns whether the write was accepted.
fn write(resource: &Path, token: u64) -> std::io::Result<bool> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(resource)?;
    // Makes the check and the write one step, as a row lock of a database does. Closing the file ends the
    // lock.
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    // A line without an end was not written: its process was killed.
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let highest: u64 = text[..whole].lines().filter_map(|line| line.parse().ok()).max().unwrap_or(0);
    if token < highest {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(whole as u64))?;
    file.write_all(format!("{token}\n").as_bytes())?;
    Ok(true)
}
