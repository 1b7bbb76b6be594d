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

/// The sums over all schedules.
#[derive(Default)]
struct Sums {
    schedules: u64,
    acquisitions: usize,
    grants: usize,
    faults: usize,
    commands: u64,
    lasted: u64,
    worst_free: [(u64, u64); 2],
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
        let (all, after) = report.worst_free;
        self.worst_free[0] = self.worst_free[0].max((all, report.seed));
        self.worst_free[1] = self.worst_free[1].max((after, report.seed));
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
    for (what, (worst, seed)) in ["in all", "after the faults"].iter().zip(sums.worst_free) {
        println!(
            "longest time that a key was free while a live call waited, {what}: {} ms (seed {seed})",
            worst / 1000
        );
    }
    if sums.failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {:?}; `--from SEED --seeds 1 --trace` shows one step by step", sums.failed);
    ExitCode::FAILURE
}
