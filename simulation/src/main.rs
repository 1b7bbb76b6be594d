//! Runs schedules, each from a seed, and reports those that broke a promise.
//!
//! `cargo run --release -p simulation -- --seeds N [--from S]`
//!
//! `--seconds` begins no schedule after this time, `--trace` prints all that happens, and `--keep-going` runs
//! further schedules after one that failed.

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use simulation::{
    plan::Plan,
    run::{Report, run},
};

struct Options {
    seeds: u64,
    from: u64,
    seconds: u64,
    threads: usize,
    trace: bool,
    keep_going: bool,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let mut options =
            Self { seeds: 1000, from: 0, seconds: u64::MAX, threads, trace: false, keep_going: false };
        while let Some(word) = words.next() {
            let mut number = || {
                let value = words.next().ok_or_else(|| format!("`{word}` needs a number"))?;
                value.parse::<u64>().map_err(|_| format!("`{word}` needs a number, and `{value}` is none"))
            };
            match word.as_str() {
                "--seeds" => options.seeds = number()?,
                "--from" => options.from = number()?,
                "--seconds" => options.seconds = number()?,
                "--threads" => options.threads = usize::try_from(number()?).unwrap_or(1).max(1),
                "--trace" => options.trace = true,
                "--keep-going" => options.keep_going = true,
                _ => {
                    return Err(format!(
                        "`{word}`: there are `--seeds N`, `--from S`, `--seconds N`, `--threads N`, `--trace` and `--keep-going`"
                    ));
                }
            }
        }
        Ok(options)
    }
}

/// What is measured, while a live call waits for the key.
const WORST: [&str; 5] = [
    "free while a live call waited, in all",
    "free while a live call waited, after the faults",
    "held after its body while a live call waited, where no fault delays a release",
    "held after its body while a live call waited, where a release that failed is sent again",
    "not used while a live call waited, without faults",
];

/// The sums over all schedules.
#[derive(Default)]
struct Sums {
    schedules: u64,
    acquisitions: usize,
    grants: usize,
    faults: usize,
    commands: u64,
    lasted: u64,
    /// In us, with their seeds: see [`WORST`].
    worst: [(u64, u64); 5],
    failed: Vec<u64>,
}

impl Sums {
    fn add(&mut self, report: &Report) {
        self.schedules += 1;
        self.acquisitions += report.acquisitions;
        self.grants += report.grants;
        self.faults += report.faults;
        self.commands += report.commands;
        self.lasted += report.lasted;
        let ((free, free_after), (in_vain, in_vain_after)) = (report.worst_free, report.worst_in_vain);
        let found = [free, free_after, in_vain, in_vain_after, report.worst_unused];
        for (worst, found) in self.worst.iter_mut().zip(found) {
            *worst = (*worst).max((found, report.seed));
        }
        if !report.violations.is_empty() {
            self.failed.push(report.seed);
            println!("seed {}:", report.seed);
            report.lines.iter().for_each(|line| println!("  {line}"));
            report.violations.iter().take(5).for_each(|violation| println!("  {violation}"));
        }
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    let (next, is_over, sums) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(Sums::default()));
    thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.seeds || began.elapsed().as_secs() >= options.seconds {
                        return;
                    }
                    let report = run(&Plan::draw(options.from + number), options.trace);
                    if !report.violations.is_empty() && !options.keep_going {
                        is_over.store(true, Ordering::Relaxed);
                    }
                    if options.trace && report.violations.is_empty() {
                        report.lines.iter().for_each(|line| println!("{line}"));
                    }
                    sums.lock().expect("no thread panics").add(&report);
                }
            });
        }
    });
    let sums = sums.into_inner().expect("no thread panics");
    let took = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let per_second = sums.schedules as f64 / took;
    println!(
        "{} schedules in {took:.1} s ({per_second:.0} a second): {} acquisitions, {} of them granted, {} faults, \
         {} commands, {} s of virtual time",
        sums.schedules,
        sums.acquisitions,
        sums.grants,
        sums.faults,
        sums.commands,
        sums.lasted / 1_000_000
    );
    for (what, (worst, seed)) in WORST.iter().zip(sums.worst) {
        println!("longest time that a key was {what}: {} ms (seed {seed})", worst / 1000);
    }
    if sums.failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {:?}; `--from SEED --seeds 1 --trace` shows one step by step", sums.failed);
    ExitCode::FAILURE
}
