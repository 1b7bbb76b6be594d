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

use distlock::{FencingToken, LockError, LockManager};

use crate::{
    Outcome,
    clock::{nanos, now},
    fenced_history::Entry,
    history::Body,
};

const TASKS: u64 = 4;
/// How long a call waits, as a rule.
const WAIT: Duration = Duration::from_millis(400);

/// How long a worker waits for its last releases.
const SHUTDOWN: Duration = Duration::from_secs(3);

/// What the workers lock.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many keys there are.
    pub keys: u32,
    /// How many of them are locked with fencing tokens: the first ones.
    pub fenced: u32,
    /// The ttl of each third key.
    pub long_ttl: Duration,
    /// The ttl of all other keys.
    pub ttl: Duration,
    /// How long one call in four waits.
    pub patience: Duration,
}

impl Load {
    /// The same as words of a command line.
    pub fn to_words(self) -> [String; 5] {
        let [long_ttl, ttl, patience] =
            [self.long_ttl, self.ttl, self.patience].map(|duration| duration.as_millis().to_string());
        [self.keys.to_string(), self.fenced.to_string(), long_ttl, ttl, patience]
    }

    /// Reads the words.
    ///
    /// # Errors
    ///
    /// If a word is not a number.
    pub fn from_words([keys, fenced, long_ttl, ttl, patience]: [&str; 5]) -> Outcome<Self> {
        let millis = |word: &str| word.parse().map(Duration::from_millis);
        let (keys, fenced) = (keys.parse()?, fenced.parse()?);
        Ok(Self { keys, fenced, long_ttl: millis(long_ttl)?, ttl: millis(ttl)?, patience: millis(patience)? })
    }

    fn ttl_of(self, key: u32) -> Duration {
        if key % 3 == 2 { self.long_ttl } else { self.ttl }
    }
}

/// Works until the standard input ends.
///
/// # Errors
///
/// If the record or the resource cannot be written.
pub async fn work(url: &str, directory: &Path, seed: u64, load: Load) -> Outcome<()> {
    let locks = LockManager::builder().url(url).build()?;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let (locks, is_over, random) = (locks.clone(), Arc::clone(&is_over), random.fork());
        let record = OpenOptions::new().append(true).open(directory.join("record"))?;
        let resource = directory.join("resource");
        tasks.spawn(async move { run(&locks, &is_over, &record, &resource, random, load).await });
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    is_over.store(true, Ordering::Relaxed);
    for result in tasks.join_all().await {
        result?;
    }
    // The release of an acquire that was never answered is tried for a minute.
    let _ = tokio::time::timeout(SHUTDOWN, locks.shutdown()).await;
    Ok(())
}

async fn run(
    locks: &LockManager,
    is_over: &AtomicBool,
    mut record: &File,
    resource: &Path,
    mut random: fastrand::Rng,
    load: Load,
) -> Outcome<()> {
    // Each line is one write, so that the lines of several processes do not mix.
    let mut note = |entry: Entry| record.write_all(format!("{entry}\n").as_bytes());
    while !is_over.load(Ordering::Relaxed) {
        let key = random.u32(0..load.keys);
        let ttl = load.ttl_of(key);
        let wait = if random.u8(0..4) == 0 { load.patience } else { WAIT };
        let request = locks.lock(format!("soak:{key}")).ttl(ttl).wait(wait);
        let request = if key < load.fenced { request.fenced() } else { request };
        let asked = now();
        match request.acquire().await {
            Ok(guard) => {
                let (token, at) = (guard.fencing_token().map_or(0, FencingToken::value), now());
                note(Entry::Granted { key, token, asked, at })?;
                // Some sections last for several renewals.
                let longest = if random.u8(0..20) == 0 { 1500 } else { 20 };
                let work = Duration::from_micros(random.u64(0..longest * 1000));
                let section = guard.run(async {
                    let start = now();
                    let leased = start.saturating_sub(nanos(ttl.saturating_sub(guard.remaining())));
                    tokio::time::sleep(work).await;
                    Body { key, start, end: now(), leased }
                });
                if let Ok(body) = section.await {
                    note(Entry::Ran(body))?;
                }
                if token > 0 {
                    // Even if the lease was lost, as a process would that was suspended here.
                    let accepted = write(&resource.with_extension(key.to_string()), token)?;
                    note(Entry::Wrote { accepted })?;
                }
                let _ = guard.release().await;
            }
            Err(LockError::Busy { .. }) => note(Entry::Busy { key, waited: now() - asked })?,
            Err(error) => {
                let is_transient = matches!(&error, LockError::Store { source, .. } if source.is_transient());
                let (wait, waited) = (if is_transient { nanos(wait) } else { 0 }, now() - asked);
                note(Entry::Failed { wait, waited, message: error.to_string() })?;
            }
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
