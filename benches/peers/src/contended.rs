//! Measures one key that many tasks want: how fast it is handed over, how fairly, and what waiting costs.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{runtime::Builder, task::JoinSet};
use uuid::Uuid;

use test_support::RedisServer;

use crate::{
    Outcome,
    client::{Client, as_task},
    measure::{cpu_time, now, quantile},
    table::{Target, print_row},
};

/// How long a task holds the key.
const SECTION: Duration = Duration::from_millis(1);
/// How long a task pauses between two cycles.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a measurement lasts.
const CONTENTION: Duration = Duration::from_secs(2);

/// How many tasks want one key.
#[derive(Clone, Copy)]
pub struct Contention {
    pub processes: usize,
    pub tasks_each: usize,
    /// How long a task holds the key.
    pub section: Duration,
    /// How long a task pauses between two cycles.
    pub pause: Duration,
}

impl Contention {
    /// 16 tasks, in this many processes.
    pub fn between(processes: usize) -> Self {
        Self { processes, tasks_each: 16 / processes, section: SECTION, pause: PAUSE }
    }
}

/// How a contended key was handed over.
pub struct HandOvers {
    /// How long the key is free between the end of a section and the beginning of the next, in microseconds.
    pub p50: f64,
    pub p99: f64,
    /// The turns of the task with the fewest, and with the most.
    pub served: [usize; 2],
    pub overlaps: usize,
}

/// Prints how long the key is free between the end of a section and the beginning of the next. 16 tasks want
/// it, in one process or in four. Returns the median for each library, in microseconds.
pub fn hand_over(
    names: &[&'static str],
    server: &RedisServer,
    processes: usize,
) -> Outcome<Vec<(&'static str, f64)>> {
    println!(
        "{processes} process(es), 16 tasks, one key, 1 ms sections, 5 ms between a task's cycles, {} s",
        CONTENTION.as_secs()
    );
    println!(
        "  {:<22} {:>12} {:>10} {:>11} {:>14} {:>8}",
        "", "p50, us", "p99, us", "of list", "served", "overlaps"
    );
    let mut medians = Vec::new();
    let mut list = None;
    for name in names {
        let HandOvers { p50, p99, served: [least, most], overlaps } =
            hand_overs(name, server, &server.url(), Contention::between(processes))?;
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

/// Lets the tasks of fresh processes take one key in turn, each over this URL.
pub fn hand_overs(name: &str, server: &RedisServer, url: &str, contention: Contention) -> Outcome<HandOvers> {
    let key = format!("contended:{}", Uuid::new_v4());
    if name == "blocking list" {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(server.command::<i64>(&["RPUSH", &key, "element"]));
    }
    let mut sections = contend_in_processes(name, url, &key, contention)?;
    sections.sort_unstable_by_key(|section| section.start);
    let overlaps = sections.windows(2).filter(|pair| pair[1].start < pair[0].end).count();
    let gaps = sections.windows(2).map(|pair| pair[1].start.saturating_sub(pair[0].end) as f64 / 1000.0);
    let gaps: Vec<f64> = gaps.collect();
    let served = |task| sections.iter().filter(|section| section.task == task).count();
    let served = (0..contention.processes * contention.tasks_each).map(served);
    let served = [served.clone().min().unwrap_or(0), served.max().unwrap_or(0)];
    Ok(HandOvers { p50: quantile(gaps.clone(), 0.5), p99: quantile(gaps, 0.99), served, overlaps })
}

/// Starts worker processes. Returns when all tasks held the key.
fn contend_in_processes(name: &str, url: &str, key: &str, contention: Contention) -> Outcome<Vec<Section>> {
    let Contention { processes, tasks_each, section, pause } = contention;
    let mut workers = Vec::new();
    for _ in 0..processes {
        let mut worker = Command::new(std::env::current_exe()?);
        let numbers = [tasks_each, section.as_millis() as usize, pause.as_millis() as usize];
        let numbers = numbers.map(|number| number.to_string());
        worker.args(["worker", name, url, key]).args(numbers).stdout(Stdio::piped());
        workers.push(worker.spawn()?);
    }
    let mut sections = Vec::new();
    for (process, mut worker) in workers.into_iter().enumerate() {
        for line in BufReader::new(worker.stdout.take().ok_or("no output")?).lines() {
            let section = Section::parse(&line?)?;
            sections.push(Section { task: process * tasks_each + section.task, ..section });
        }
        worker.wait()?;
    }
    Ok(sections)
}

/// The part of one worker process: runs its tasks, and prints when they held the key.
///
/// `numbers` are those of tasks, and of milliseconds that a task holds the key and pauses.
pub fn work(name: &str, url: &str, key: &str, numbers: [u64; 3]) -> Outcome<()> {
    let [count, section, pause] = numbers;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let [section, pause] = [section, pause].map(Duration::from_millis);
    let tasks = Tasks { count: count as usize, section, pause, lasts: CONTENTION };
    print(&runtime.block_on(contend(name, url, key, tasks))?);
    Ok(())
}

/// Prints the rows of hand-overs, beside a blocking list.
pub fn rows(rounds: usize) -> Outcome<()> {
    for processes in [1, 4] {
        let server = RedisServer::start();
        let names = ["distlock", "distlock, not fair", "rslock, 5 ms"];
        let mut measured = vec![[const { Vec::new() }; 3]; names.len()];
        for _ in 0..rounds {
            let once = |name| hand_overs(name, &server, &server.url(), Contention::between(processes));
            let list = once("blocking list")?;
            for (name, [p50, p99, served]) in names.iter().zip(&mut measured) {
                let ours = once(name)?;
                p50.push(ours.p50 / list.p50);
                p99.push(ours.p99 / list.p99);
                served.push(ours.served[0] as f64 / ours.served[1] as f64);
            }
        }
        let [ours, not_fair, rslock] = &measured[..] else { unreachable!("three names") };
        let processes =
            if processes == 1 { "one process".to_owned() } else { format!("{processes} processes") };
        let of = |figure: &str| format!("{processes}, 16 tasks, one key: {figure}");
        let unfair = |figure: &str| of(&format!("`fair = false`, {figure}"));
        print_row(&of("hand-over, p50, of a list's"), &ours[0], &rslock[0], Target::AtMost(1.4));
        print_row(&of("hand-over, p99, of a list's"), &ours[1], &rslock[1], Target::AtMost(2.0));
        print_row(&of("fewest turns of a task, of the most"), &ours[2], &rslock[2], Target::None);
        print_row(&unfair("hand-over, p50, of a list's"), &not_fair[0], &[], Target::None);
    }
    Ok(())
}

/// Prints when the tasks held the key, for the process that started this one.
pub fn print(sections: &[Section]) {
    for Section { task, start, end } in sections {
        println!("{task} {start} {end}");
    }
}

/// The time in which a task held the key, in nanoseconds of the host's monotonic clock.
pub struct Section {
    pub task: usize,
    pub start: u64,
    pub end: u64,
}

impl Section {
    /// Reads a line of [`print`].
    pub fn parse(line: &str) -> Outcome<Self> {
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [task, start, end] = numbers[..] else { return Err(line.into()) };
        Ok(Self { task: task as usize, start, end })
    }
}

/// What tasks do that want one key.
#[derive(Clone, Copy)]
pub struct Tasks {
    pub count: usize,
    /// How long a task holds the key.
    pub section: Duration,
    /// How long a task pauses between two cycles.
    pub pause: Duration,
    pub lasts: Duration,
}

/// Runs tasks that want one key, each again after it held it. Returns when they held it.
pub async fn contend(name: &str, url: &str, key: &str, tasks: Tasks) -> Outcome<Vec<Section>> {
    let client = Client::named(name, url).await?;
    let sections = Arc::new(Mutex::new(Vec::new()));
    let end = Instant::now() + tasks.lasts;
    let mut all = JoinSet::new();
    for task in 0..tasks.count {
        let (client, sections, key) = (client.clone(), Arc::clone(&sections), key.to_owned());
        all.spawn(as_task(async move {
            while Instant::now() < end {
                let section = || {
                    let sections = Arc::clone(&sections);
                    async move {
                        let start = now();
                        tokio::time::sleep(tasks.section).await;
                        let end = now();
                        sections.lock().expect("no panic").push(Section { task, start, end });
                    }
                };
                client.locked(&key, section).await;
                if !tasks.pause.is_zero() {
                    tokio::time::sleep(tasks.pause).await;
                }
            }
        }));
    }
    all.join_all().await;
    Ok(std::mem::take(&mut *sections.lock().expect("no panic")))
}

/// Prints what 10,000 waiting tasks of one process cost, and how fast they get one key in turn.
pub fn crowd(server: &RedisServer) -> Outcome<()> {
    const TASKS: usize = 10_000;
    const WAITING: Duration = Duration::from_secs(3);
    println!("{TASKS} tasks of a process wait for one key");
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::named("distlock", &server.url()).await?;
        let turns = Arc::new(Mutex::new(Vec::with_capacity(TASKS)));
        // A value as distlock writes it: beside other libraries it would poll.
        let holder = Uuid::new_v4().to_string();
        server.command::<String>(&["SET", "lock:crowd", &holder, "PX", "600000"]).await;
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (client, turns) = (client.clone(), Arc::clone(&turns));
            tasks.spawn(async move {
                let turns = &turns;
                client
                    .locked("crowd", || {
                        let turns = Arc::clone(turns);
                        async move { turns.lock().expect("no panic").push(now()) }
                    })
                    .await;
            });
        }
        // By then all tasks wait.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (cpu, commands) = (cpu_time(), server.calls(&["evalsha", "eval"]).await);
        tokio::time::sleep(WAITING).await;
        let (cpu, commands) = (cpu_time() - cpu, server.calls(&["evalsha", "eval"]).await - commands);
        println!(
            "  while waiting: {:.2} % of a core, {:.2} commands a second",
            cpu / WAITING.as_secs_f64() * 100.0,
            commands as f64 / WAITING.as_secs_f64()
        );
        server.command::<u8>(&["DEL", "lock:crowd"]).await;
        tasks.join_all().await;
        let turns = turns.lock().expect("no panic");
        let gaps: Vec<f64> = turns.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1000.0).collect();
        println!(
            "  from turn to turn: p50 {:.0} us, p99 {:.0} us",
            quantile(gaps.clone(), 0.5),
            quantile(gaps, 0.99)
        );
        Ok(())
    })
}
