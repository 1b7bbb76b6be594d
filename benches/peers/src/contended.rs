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
};

/// How long a task holds the key.
const SECTION: Duration = Duration::from_millis(1);
/// How long a task pauses between two cycles.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a measurement lasts.
const CONTENTION: Duration = Duration::from_secs(2);

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
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let mut medians = Vec::new();
    let mut list = None;
    for name in names {
        let key = format!("contended:{processes}:{name}");
        if *name == "blocking list" {
            runtime.block_on(server.command::<i64>(&["RPUSH", &key, "element"]));
        }
        let mut sections = if processes == 1 {
            runtime.block_on(contend(name, &server.url(), &key, Tasks::with_pauses(16)))?
        } else {
            contend_in_processes(name, &server.url(), &key, processes)?
        };
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

/// Starts worker processes of four tasks each. Returns when all tasks held the key.
fn contend_in_processes(name: &str, url: &str, key: &str, processes: usize) -> Outcome<Vec<Section>> {
    let mut workers = Vec::new();
    for _ in 0..processes {
        let mut worker = Command::new(std::env::current_exe()?);
        worker.args(["worker", name, url, key]).stdout(Stdio::piped());
        workers.push(worker.spawn()?);
    }
    let mut sections = Vec::new();
    for (process, mut worker) in workers.into_iter().enumerate() {
        for line in BufReader::new(worker.stdout.take().ok_or("no output")?).lines() {
            let section = Section::parse(&line?)?;
            sections.push(Section { task: process * 4 + section.task, ..section });
        }
        worker.wait()?;
    }
    Ok(sections)
}

/// The part of one worker process: runs four tasks, and prints when they held the key.
pub fn work(name: &str, url: &str, key: &str) -> Outcome<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    print(&runtime.block_on(contend(name, url, key, Tasks::with_pauses(4)))?);
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

impl Tasks {
    fn with_pauses(count: usize) -> Self {
        Self { count, section: SECTION, pause: PAUSE, lasts: CONTENTION }
    }
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
