//! A soak on several servers: faults, the workers under them, and what their record shows.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{
    Outcome,
    clock::{self, Nanos, nanos},
    fenced_history::{Entry, Limits, Verdict, verdict},
    fenced_worker::{Load, work},
    history::Forgotten,
    options,
    workers::Workers,
};

/// Calls that would wait for less than this may fail at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a soak is set up.
pub struct Setup {
    /// The name of the soak.
    pub name: &'static str,
    /// The servers and their settings, for the first line.
    pub servers: String,
    /// What the workers connect to.
    pub url: String,
    /// How many worker processes there are.
    pub workers: usize,
    /// What the workers lock.
    pub load: Load,
    /// The longest pause between two faults.
    pub longest_pause: Duration,
    /// The longest time that a call may wait: some faults one after the other.
    pub service: Duration,
    /// How long the workers go on after the last fault. Each key must be granted in that time.
    pub peace: Duration,
}

/// What causes the faults.
pub trait Nemesis {
    /// Causes one fault, ends it, and returns its name.
    fn strike(
        &mut self,
        random: &mut fastrand::Rng,
        workers: &mut Workers,
        record: &Record,
    ) -> impl Future<Output = io::Result<&'static str>>;

    /// What must not be on the servers after all leases are over.
    fn left(&mut self) -> impl Future<Output = Vec<String>>;
}

/// The file to which the workers and the nemesis write.
pub struct Record(PathBuf);

impl Record {
    /// Notes that the servers may have forgotten the locks of these keys between `start` and now.
    ///
    /// # Errors
    ///
    /// If the record cannot be written.
    pub fn forgot(&self, keys: impl IntoIterator<Item = u32>, start: Nanos) -> io::Result<()> {
        let end = clock::now();
        let mut record = File::options().append(true).open(&self.0)?;
        for key in keys {
            record.write_all(format!("{}\n", Entry::Forgot(Forgotten { key, start, end })).as_bytes())?;
        }
        Ok(())
    }

    fn read(&self) -> Outcome<Vec<Entry>> {
        let text = fs::read_to_string(&self.0)?;
        // A worker may have been killed while it wrote the last line.
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        Ok(complete.lines().map(str::parse).collect::<Result<_, _>>()?)
    }
}

/// Runs the program: a worker, or the soak with its duration and its seed.
pub async fn main<F: Future<Output = Outcome<bool>>>(
    name: &str,
    soak: impl FnOnce(Duration, u64) -> F,
) -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["worker", url, directory, seed, ref load @ ..] => {
            let load = <[&str; 5]>::try_from(load).map_err(|_| "the words of a load".into());
            match load.and_then(Load::from_words) {
                Ok(load) => work(url, Path::new(directory), seed.parse().unwrap_or_default(), load)
                    .await
                    .map(|()| true),
                Err(error) => Err(error),
            }
        }
        ref words => match options::read(words) {
            Ok((duration, seed)) => soak(duration, seed).await,
            Err(error) => Err(error.into()),
        },
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets workers lock and a nemesis strike, for this long. Returns whether nothing was found.
///
/// # Errors
///
/// If a process does not start, or the record cannot be written or read.
pub async fn run(setup: Setup, nemesis: &mut impl Nemesis, duration: Duration, seed: u64) -> Outcome<bool> {
    let Setup { name, servers, workers, .. } = &setup;
    println!("{name}: seed {seed}, {} s, {servers}, {workers} processes", duration.as_secs());
    let directory = env::temp_dir().join(format!("distlock-{name}-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let outcome = under_fire(setup, nemesis, duration, seed, &directory).await;
    fs::remove_dir_all(&directory)?;
    outcome
}

async fn under_fire(
    setup: Setup,
    nemesis: &mut impl Nemesis,
    duration: Duration,
    seed: u64,
    directory: &Path,
) -> Outcome<bool> {
    let Setup { name, url, workers, load, longest_pause, service, peace, .. } = setup;
    let record = Record(directory.join("record"));
    fs::write(&record.0, "")?;
    let mut workers = Workers::start(workers, url, directory.to_owned(), load, seed)?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut faults: BTreeMap<&str, u32> = BTreeMap::new();
    let (start, mut reported) = (Instant::now(), Instant::now());
    while start.elapsed() < duration {
        tokio::time::sleep(longest_pause.mul_f64(0.07 + 0.93 * random.f64())).await;
        *faults.entry(nemesis.strike(&mut random, &mut workers, &record).await?).or_default() += 1;
        if reported.elapsed() > Duration::from_secs(10) {
            reported = Instant::now();
            println!(
                "{name}: {:4} s, {} faults, {} lines of record",
                start.elapsed().as_secs(),
                faults.values().sum::<u32>(),
                record.read()?.len()
            );
        }
    }
    let at_peace = clock::now();
    tokio::time::sleep(peace).await;
    let ending = Instant::now();
    let ended_well = workers.finish();
    let ended_in = ending.elapsed();
    let entries = record.read()?;
    // The leases of killed workers lapse.
    let longest = load.long_ttl.max(load.ttl);
    tokio::time::sleep(longest).await;
    let limits = Limits { notice: nanos(longest), patience: nanos(PATIENCE), service: nanos(service) };
    let mut verdict = verdict(&entries, limits);
    let granted_at_peace = |key: u32| {
        let is_it = |entry: &&Entry| matches!(entry, Entry::Granted { key: of, at, .. } if *of == key && *at > at_peace);
        entries.iter().filter(is_it).count()
    };
    let grants: Vec<_> = (0..load.keys).map(granted_at_peace).collect();
    let stuck =
        (0..).zip(&grants).filter(|(_, grants)| **grants == 0).map(|(key, _): (u32, _)| key.to_string());
    verdict.violations.push(("keys that nobody got at peace", stuck.collect()));
    verdict.violations.push(("keys left", nemesis.left().await));
    if !ended_well {
        verdict.violations.push(("workers that failed", vec!["see above".to_owned()]));
    }
    let longest_wait = entries.iter().filter_map(|entry| match entry {
        Entry::Granted { asked, at, .. } => Some(at.saturating_sub(*asked)),
        _ => None,
    });
    println!("{name}: the calls under way took {ended_in:.1?} to end");
    verdict.counts.push(("ms of the longest wait", longest_wait.max().unwrap_or_default() / 1_000_000));
    report(&faults, &verdict, grants.iter().sum());
    Ok(verdict.is_clean())
}

fn report(faults: &BTreeMap<&str, u32>, verdict: &Verdict, progress: usize) {
    println!("\nfaults");
    for (fault, times) in faults {
        println!("  {fault:<36} {times:6}");
    }
    println!("calls");
    for (what, times) in &verdict.counts {
        println!("  {what:<36} {times:6}");
    }
    println!("afterwards");
    println!("  {:<36} {progress:6}", "grants at peace");
    for (what, found) in &verdict.violations {
        println!("  {what:<36} {:6}", found.len());
        for each in found.iter().take(5) {
            println!("    {each}");
        }
    }
}
