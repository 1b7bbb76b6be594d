//! distlock beside other Redis locks, all in one run and in turns, on a server that this program starts.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml            # tables, and docs/peers.svg
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- distlock rslock    # these and the yardsticks only, on one server
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- crowd              # 10,000 waiting tasks only
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- quorum             # five servers only
//! ```

use std::{
    error::Error,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use client::{CONTENDED, Client, UNCONTENDED, as_task};
use rustix::time::{ClockId, clock_gettime};
use test_support::RedisServer;
use tokio::{runtime::Builder, task::JoinSet};

mod chart;
mod client;
mod quorum;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const REPETITIONS: usize = 5;
const PAUSE: Duration = Duration::from_millis(5);
const SECTION: Duration = Duration::from_millis(1);
const CONTENTION: Duration = Duration::from_secs(2);

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name, url, key] = args.as_slice()
        && word == "worker"
    {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        for Section { task, start, end } in runtime.block_on(contend(name, url, key, 4))? {
            println!("{task} {start} {end}");
        }
        return Ok(());
    }
    let wanted = |name: &str, yardstick: &str| {
        let library = name.split(',').next().unwrap_or_default();
        args.is_empty() || name == yardstick || args.iter().any(|arg| arg == library)
    };
    let uncontended: Vec<_> = UNCONTENDED.into_iter().filter(|name| wanted(name, "redis-rs")).collect();
    let contended: Vec<_> = CONTENDED.into_iter().filter(|name| wanted(name, "blocking list")).collect();
    if let [word, name, cycles] = args.as_slice()
        && word == "cycles"
    {
        return instructions(name, cycles.parse()?);
    }
    if args.iter().any(|arg| arg == "quorum") {
        return quorum::run();
    }
    let server = RedisServer::start();
    if args.iter().any(|arg| arg == "crowd") {
        return crowd(&server);
    }
    latency(&uncontended, &server)?;
    throughput(&uncontended, &server)?;
    let mut bars = Vec::new();
    for processes in [1, 4] {
        bars.push(hand_over(&contended, &server, processes)?);
    }
    if args.is_empty() {
        crowd(&server)?;
        quorum::run()?;
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/peers.svg");
        std::fs::write(file, chart::bars("Hand-over of a contended lock, 16 tasks, median (us)", &bars[1]))?;
    }
    Ok(())
}

/// One task, one key that nobody else wants, in turns with plain redis-rs, on one thread.
fn latency(names: &[&str], server: &RedisServer) -> Outcome<()> {
    const CYCLES: usize = 200;
    println!(
        "one task, a free key: latency of a cycle as a ratio to redis-rs, median (least to most of {REPETITIONS})"
    );
    for name in names {
        let mut ratios = Vec::new();
        for _ in 0..REPETITIONS {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            ratios.push(runtime.block_on(async {
                let plain = Client::named("redis-rs", &server.url()).await?;
                let other = Client::named(name, &server.url()).await?;
                let mut times = [Vec::new(), Vec::new()];
                for _ in 0..CYCLES {
                    for (client, times) in [&plain, &other].into_iter().zip(&mut times) {
                        let start = Instant::now();
                        client.locked("one", || async {}).await;
                        times.push(start.elapsed().as_secs_f64());
                        if name.ends_with("background") {
                            // Its answer comes before the other one's turn.
                            tokio::time::sleep(Duration::from_micros(200)).await;
                        }
                    }
                }
                let [plain, other] = times.map(|times| quantile(times, 0.5));
                Outcome::Ok(other / plain)
            })?);
        }
        println!("  {name:<22} {}", spread(&ratios));
    }
    Ok(())
}

/// 64 tasks, a key each, one manager: cycles a second, and CPU time a cycle.
fn throughput(names: &[&str], server: &RedisServer) -> Outcome<()> {
    const TASKS: usize = 64;
    println!("64 tasks, a key each: ratio to redis-rs of cycles per second, and of CPU time per cycle");
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let mut measured = vec![(Vec::new(), Vec::new()); names.len()];
    for _ in 0..REPETITIONS {
        let mut plain = None;
        for (name, (speeds, costs)) in names.iter().zip(&mut measured) {
            let cycles = if *name == "redlock" { 10 } else { 150 };
            let (wall, cpu) = runtime.block_on(async {
                let client = Client::named(name, &server.url()).await?;
                let (start, cpu) = (Instant::now(), cpu_time());
                let mut tasks = JoinSet::new();
                for task in 0..TASKS {
                    let client = client.clone();
                    tasks.spawn(async move {
                        let key = format!("own:{task}");
                        for _ in 0..cycles {
                            client.locked(&key, || async {}).await;
                        }
                    });
                }
                tasks.join_all().await;
                let all = (cycles * TASKS) as f64;
                Outcome::Ok((start.elapsed().as_secs_f64() / all, (cpu_time() - cpu) / all))
            })?;
            let (plain_wall, plain_cpu) = *plain.get_or_insert((wall, cpu));
            speeds.push(plain_wall / wall);
            costs.push(cpu / plain_cpu);
        }
    }
    print_speeds(names, &measured);
    Ok(())
}

/// Ratios of speed and of CPU time, a line for each.
fn print_speeds(names: &[&str], measured: &[(Vec<f64>, Vec<f64>)]) {
    for (name, (speeds, costs)) in names.iter().zip(measured) {
        println!("  {name:<22} {}   {}", spread(speeds), spread(costs));
    }
}

/// A section, in nanoseconds of the host's monotonic clock.
struct Section {
    task: usize,
    start: u64,
    end: u64,
}

/// Tasks that want one key, each again 5 ms after it had it.
async fn contend(name: &str, url: &str, key: &str, tasks: usize) -> Outcome<Vec<Section>> {
    let client = Client::named(name, url).await?;
    let sections = Arc::new(Mutex::new(Vec::new()));
    let end = Instant::now() + CONTENTION;
    let mut all = JoinSet::new();
    for task in 0..tasks {
        let (client, sections, key) = (client.clone(), Arc::clone(&sections), key.to_owned());
        all.spawn(as_task(async move {
            while Instant::now() < end {
                let section = || {
                    let sections = Arc::clone(&sections);
                    async move {
                        let start = now();
                        tokio::time::sleep(SECTION).await;
                        let end = now();
                        sections.lock().expect("nobody panics").push(Section { task, start, end });
                    }
                };
                client.locked(&key, section).await;
                tokio::time::sleep(PAUSE).await;
            }
        }));
    }
    all.join_all().await;
    Ok(std::mem::take(&mut *sections.lock().expect("nobody panics")))
}

/// 16 tasks in one process or in four, one key: from the end of a section to the beginning of the next.
fn hand_over(
    names: &[&'static str],
    server: &RedisServer,
    processes: usize,
) -> Outcome<Vec<(&'static str, f64)>> {
    println!(
        "{processes} process(es), 16 tasks, one key, 1 ms sections, 5 ms between a task's cycles, {} s\n  {:<22} {:>12} {:>10} {:>11} {:>14} {:>8}",
        CONTENTION.as_secs(),
        "",
        "p50, us",
        "p99, us",
        "of list",
        "served",
        "overlaps"
    );
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let mut medians = Vec::new();
    let mut list = None;
    for name in names {
        let key = format!("contended:{processes}:{name}");
        if *name == "blocking list" {
            runtime.block_on(server.command::<i64>(&["RPUSH", &key, "token"]));
        }
        let mut sections = Vec::new();
        if processes == 1 {
            sections = runtime.block_on(contend(name, &server.url(), &key, 16))?;
        } else {
            let mut workers = Vec::new();
            for _ in 0..processes {
                let mut worker = Command::new(std::env::current_exe()?);
                worker.args(["worker", name, &server.url(), &key]).stdout(Stdio::piped());
                workers.push(worker.spawn()?);
            }
            for (process, mut worker) in workers.into_iter().enumerate() {
                for line in BufReader::new(worker.stdout.take().ok_or("no output")?).lines() {
                    let line = line?;
                    let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
                    let [task, start, end] = numbers[..] else { return Err(line.into()) };
                    sections.push(Section { task: process * 4 + task as usize, start, end });
                }
                worker.wait()?;
            }
        }
        sections.sort_unstable_by_key(|section| section.start);
        let overlaps = sections.windows(2).filter(|pair| pair[1].start < pair[0].end).count();
        let gaps = sections.windows(2).map(|pair| pair[1].start.saturating_sub(pair[0].end) as f64 / 1000.0);
        let gaps: Vec<f64> = gaps.collect();
        let (p50, p99) = (quantile(gaps.clone(), 0.5), quantile(gaps, 0.99));
        let served = |task| sections.iter().filter(|section| section.task == task).count();
        let (least, most) = ((0..16).map(served).min().unwrap_or(0), (0..16).map(served).max().unwrap_or(0));
        let (list50, list99) = *list.get_or_insert((p50, p99));
        println!(
            "  {name:<22} {p50:>12.0} {p99:>10.0} {:>5.2}/{:<5.2} {least:>7}-{most:<6} {overlaps:>8}",
            p50 / list50,
            p99 / list99,
        );
        medians.push((*name, p50));
    }
    Ok(medians)
}

/// So many cycles in each of 64 tasks, each on a key of its own, on one thread: for callgrind and memcheck to count. Two runs tell a cycle's share.
fn instructions(name: &str, cycles: usize) -> Outcome<()> {
    let servers: Vec<_> = (0..5).map(|_| RedisServer::start()).collect();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        if let Some(name) = name.strip_prefix("quorum:") {
            let client = quorum::Quorum::named(name, &servers).await?;
            for task in 0..64 {
                let (client, key) = (client.clone(), format!("own:{task}"));
                tasks.spawn(async move {
                    for _ in 0..cycles {
                        while client.cycle(&key).await.is_err() {}
                    }
                });
            }
        } else {
            let client = Client::named(name, &servers[0].url()).await?;
            for task in 0..64 {
                let (client, key) = (client.clone(), format!("own:{task}"));
                tasks.spawn(async move {
                    for _ in 0..cycles {
                        client.locked(&key, || async {}).await;
                    }
                });
            }
        }
        tasks.join_all().await;
        Ok(())
    })
}

/// 10,000 tasks of one process that wait for one key: what waiting costs, and how fast they are served.
fn crowd(server: &RedisServer) -> Outcome<()> {
    const TASKS: usize = 10_000;
    const WAITING: Duration = Duration::from_secs(3);
    println!("{TASKS} tasks of a process wait for one key");
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::named("distlock", &server.url()).await?;
        let turns = Arc::new(Mutex::new(Vec::with_capacity(TASKS)));
        let blocker = server.command::<String>(&["SET", "lock:crowd", "somebody", "PX", "600000"]);
        blocker.await;
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (client, turns) = (client.clone(), Arc::clone(&turns));
            tasks.spawn(async move {
                let turns = &turns;
                client
                    .locked("crowd", || {
                        let turns = Arc::clone(turns);
                        async move { turns.lock().expect("the list").push(now()) }
                    })
                    .await;
            });
        }
        // All have come to wait.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (cpu, asked) = (cpu_time(), server.calls(&["evalsha", "eval"]).await);
        tokio::time::sleep(WAITING).await;
        let (cpu, asked) = (cpu_time() - cpu, server.calls(&["evalsha", "eval"]).await - asked);
        println!(
            "  while waiting: {:.2} % of a core, {:.2} questions a second",
            cpu / WAITING.as_secs_f64() * 100.0,
            asked as f64 / WAITING.as_secs_f64()
        );
        server.command::<u8>(&["DEL", "lock:crowd"]).await;
        tasks.join_all().await;
        let turns = turns.lock().expect("the list");
        let gaps: Vec<f64> = turns.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1000.0).collect();
        println!(
            "  from turn to turn: p50 {:.0} us, p99 {:.0} us",
            quantile(gaps.clone(), 0.5),
            quantile(gaps, 0.99)
        );
        Ok(())
    })
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Seconds of this process, on all cores.
fn cpu_time() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn quantile(mut values: Vec<f64>, of: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() as f64 * of) as usize).copied().unwrap_or(f64::NAN)
}

fn spread(values: &[f64]) -> String {
    let at = |of| quantile(values.to_vec(), of);
    format!("{:.2} ({:.2} to {:.2})", at(0.5), at(0.0), at(0.999))
}
