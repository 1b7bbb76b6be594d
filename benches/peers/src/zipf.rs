//! Measures many tasks that take many keys, some far more often than others.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use test_support::RedisServer;
use tokio::runtime::Builder;

use crate::{
    Outcome,
    client::Client,
    measure::{ServerCpu, now},
    table::{Target, print_row},
};

const PROCESSES: usize = 4;
const TASKS_EACH: usize = 250;
const KEYS: usize = 100;
/// Turns before do not count: processes start, and make their connections.
const WARM_UP: Duration = Duration::from_millis(1500);
const LASTS: Duration = Duration::from_millis(2500);

/// The part of one process, from `start` on (nanoseconds of the host's clock): prints how many turns each
/// task had.
pub fn work(name: &str, url: &str, seed: u64, start: u64) -> Outcome<()> {
    let begin = start + WARM_UP.as_nanos() as u64;
    let end = begin + LASTS.as_nanos() as u64;
    Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let client = Client::named(name, url).await?;
        let turns: Arc<Vec<AtomicUsize>> = Arc::new((0..TASKS_EACH).map(|_| AtomicUsize::new(0)).collect());
        for task in 0..TASKS_EACH {
            let (client, turns) = (client.clone(), Arc::clone(&turns));
            let mut draws = Zipf::new(seed + task as u64);
            tokio::spawn(async move {
                loop {
                    let key = format!("zipf:{}", draws.draw());
                    let turn = || {
                        let turns = Arc::clone(&turns);
                        async move {
                            turns[task]
                                .fetch_add(usize::from((begin..end).contains(&now())), Ordering::Relaxed);
                        }
                    };
                    client.locked(&key, turn).await;
                }
            });
        }
        tokio::time::sleep(Duration::from_nanos(end.saturating_sub(now()))).await;
        for turns in turns.iter() {
            println!("{}", turns.load(Ordering::Relaxed));
        }
        // The tasks never end.
        std::process::exit(0)
    })
}

/// Draws the numbers of keys by a zipf law: the first is drawn twice as often as the second.
struct Zipf {
    state: u64,
    /// For each key, the chance that it or an earlier one is drawn.
    chances: Vec<f64>,
}

impl Zipf {
    fn new(seed: u64) -> Self {
        let all: f64 = (1..=KEYS).map(|rank| 1.0 / rank as f64).sum();
        let mut sum = 0.0;
        let chances = (1..=KEYS).map(|rank| {
            sum += 1.0 / rank as f64 / all;
            sum
        });
        Self { state: seed, chances: chances.collect() }
    }

    fn draw(&mut self) -> usize {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let chance = ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        self.chances.partition_point(|upto| *upto < chance).min(KEYS - 1)
    }
}

/// What a library did in one run.
#[derive(Default, Clone)]
struct Runs {
    per_second: Vec<f64>,
    server_us: Vec<f64>,
    /// The turns of the task with the fewest and with the most, as shares of the mean.
    fewest: Vec<f64>,
    most: Vec<f64>,
}

/// Prints the rows of this workload.
pub fn rows(rounds: usize) -> Outcome<()> {
    const NAMES: [&str; 3] = ["distlock", "distlock, not fair", "rslock"];
    let server = RedisServer::start();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut all = vec![Runs::default(); NAMES.len()];
    for round in 0..rounds {
        for (name, runs) in NAMES.iter().zip(&mut all) {
            runtime.block_on(server.command::<String>(&["FLUSHALL"]));
            runtime.block_on(run(name, &server.url(), round, runs))?;
        }
    }
    let [ours, not_fair, rslock] = &all[..] else { unreachable!("three names") };
    let what = |figure| format!("1,000 tasks, 100 keys by a zipf law, 4 processes: {figure}");
    let short = |figure| format!("the same: {figure}");
    let unfair = |figure| format!("the same, `fair = false`: {figure}");
    print_row(&what("turns a second"), &ours.per_second, &rslock.per_second, Target::AtLeast(40_000.0));
    print_row(
        &short("CPU time of the server, us a turn"),
        &ours.server_us,
        &rslock.server_us,
        Target::AtMost(13.0),
    );
    print_row(&short("fewest turns of a task, of the mean"), &ours.fewest, &rslock.fewest, Target::None);
    print_row(&short("most turns of a task, of the mean"), &ours.most, &rslock.most, Target::None);
    print_row(&unfair("turns a second"), &not_fair.per_second, &[], Target::None);
    print_row(&unfair("CPU time of the server, us a turn"), &not_fair.server_us, &[], Target::None);
    print_row(&unfair("fewest turns of a task, of the mean"), &not_fair.fewest, &[], Target::None);
    Ok(())
}

async fn run(name: &str, url: &str, round: usize, runs: &mut Runs) -> Outcome<()> {
    let mut server = ServerCpu::of(url).await?;
    let start = now();
    let mut workers = Vec::new();
    for process in 0..PROCESSES {
        let seed = (round * PROCESSES + process) * TASKS_EACH;
        let mut worker = Command::new(std::env::current_exe()?);
        worker.args(["zipf", name, url, &seed.to_string(), &start.to_string()]).stdout(Stdio::piped());
        workers.push(worker.spawn()?);
    }
    tokio::time::sleep(WARM_UP.saturating_sub(Duration::from_nanos(now() - start))).await;
    let cpu = server.read().await?;
    tokio::time::sleep((WARM_UP + LASTS).saturating_sub(Duration::from_nanos(now() - start))).await;
    let cpu = server.read().await? - cpu;
    let mut turns = Vec::new();
    for worker in workers {
        let output = worker.wait_with_output()?;
        for line in String::from_utf8(output.stdout)?.lines() {
            turns.push(line.parse::<f64>()?);
        }
    }
    let sum: f64 = turns.iter().sum();
    let mean = sum / turns.len() as f64;
    runs.per_second.push(sum / LASTS.as_secs_f64());
    runs.server_us.push(cpu / sum * 1e6);
    runs.fewest.push(turns.iter().copied().fold(f64::INFINITY, f64::min) / mean);
    runs.most.push(turns.iter().copied().fold(0.0, f64::max) / mean);
    Ok(())
}
