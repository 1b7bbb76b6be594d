//! The soak on a quorum: worker processes take fenced locks on five Redis servers that are killed, emptied,
//! paused and disconnected, and write to a resource that refuses stale fencing tokens. Then the record of all
//! grants and sections is checked.
//!
//! ```sh
//! cargo run --release -p soak --bin quorum_soak -- --minutes 10 --seed 7
//! ```
//! The program starts its own `redis-server`s, which lose their data when they restart. The program ends with
//! exit code 1 if two grants share a fencing token, a later grant has a lower token, two sections overlap, a
//! worker fails, or nothing is granted after the faults have stopped.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

mod worker;

use soak::{
    clock, options,
    quorum_history::{Entry, Verdict, verdict},
};
use test_support::{Proxy, RedisServer};

const NODES: usize = 5;
const WORKERS: usize = 4;
/// How long the workers go on after the last fault. A node that has restarted may be left out for a ttl, and
/// for two seconds more because it tells its uptime in whole seconds.
const PEACE: Duration = Duration::from_secs(4);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["worker", url, directory, seed] => {
            worker::work(url, Path::new(directory), seed.parse().unwrap_or_default()).await.map(|()| true)
        }
        words => match options::read(words) {
            Ok((duration, seed)) => run(duration, seed).await,
            Err(error) => Err(error.into()),
        },
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quorum_soak: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(duration: Duration, seed: u64) -> Outcome<bool> {
    println!("quorum_soak: seed {seed}, {} s, {NODES} servers, {WORKERS} processes", duration.as_secs());
    let directory = env::temp_dir().join(format!("distlock-quorum-soak-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    fs::write(directory.join("record"), "")?;
    let outcome = under_fire(duration, seed, &directory).await;
    fs::remove_dir_all(&directory)?;
    outcome
}

struct Node {
    server: RedisServer,
    proxy: Proxy,
    /// When the server last lost its data. Set by `strike`.
    emptied: Option<Instant>,
}

async fn under_fire(duration: Duration, seed: u64, directory: &Path) -> Outcome<bool> {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.port()).await;
        nodes.push(Node { server, proxy, emptied: None });
    }
    let hosts: Vec<_> = nodes
        .iter()
        .map(|node| node.proxy.url().trim_start_matches("redis://").trim_end_matches('/').to_owned())
        .collect();
    let mut workers = Workers {
        processes: Vec::new(),
        url: format!("redlock://{}", hosts.join(",")),
        directory: directory.to_owned(),
        started: seed,
    };
    for _ in 0..WORKERS {
        let worker = workers.spawn()?;
        workers.processes.push(worker);
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut faults: BTreeMap<&str, u32> = BTreeMap::new();
    let (start, mut reported) = (Instant::now(), Instant::now());
    while start.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(random.u64(20..300))).await;
        *faults.entry(strike(&mut random, &mut nodes, &mut workers).await?).or_default() += 1;
        if reported.elapsed() > Duration::from_secs(10) {
            reported = Instant::now();
            println!(
                "quorum_soak: {:4} s, {} faults, {} lines of record",
                start.elapsed().as_secs(),
                faults.values().sum::<u32>(),
                read(directory)?.len()
            );
        }
    }
    let peace = clock::now();
    tokio::time::sleep(PEACE).await;
    let ended_well = workers.finish();
    let entries = read(directory)?;
    let progress = entries.iter().filter(|entry| matches!(entry, Entry::Granted { at, .. } if *at > peace));
    let progress = progress.count();
    let verdict = verdict(&entries);
    report(&faults, &verdict, progress);
    Ok(verdict.is_clean() && progress > 0 && ended_well)
}

fn read(directory: &Path) -> Outcome<Vec<Entry>> {
    Ok(fs::read_to_string(directory.join("record"))?.lines().map(str::parse).collect::<Result<_, _>>()?)
}

fn report(faults: &BTreeMap<&str, u32>, verdict: &Verdict, progress: usize) {
    println!("\nfaults");
    for (fault, times) in faults {
        println!("  {fault:<28} {times:6}");
    }
    println!("calls");
    for (what, times) in &verdict.counts {
        println!("  {what:<28} {times:6}");
    }
    println!("afterwards");
    println!("  {:<28} {progress:6}", "grants at peace");
    for (what, found) in &verdict.violations {
        println!("  {what:<28} {:6}", found.len());
        for each in found.iter().take(3) {
            println!("    {each}");
        }
    }
}

struct Workers {
    processes: Vec<Child>,
    url: String,
    directory: PathBuf,
    started: u64,
}

impl Workers {
    fn spawn(&mut self) -> std::io::Result<Child> {
        self.started += 1;
        let mut worker = Command::new(env::current_exe()?);
        worker.arg("worker").arg(&self.url).arg(&self.directory).arg(self.started.to_string());
        worker.stdin(Stdio::piped()).spawn()
    }

    fn signal(&self, worker: usize, signal: &str) {
        let kill = format!("kill -{signal} {}", self.processes[worker].id());
        let _ = Command::new("sh").args(["-c", &kill]).status();
    }

    /// Lets all workers finish, and returns whether each of them succeeded.
    fn finish(self) -> bool {
        let mut all = true;
        for mut worker in self.processes {
            drop(worker.stdin.take());
            all &= worker.wait().is_ok_and(|status| status.success());
        }
        all
    }
}

/// Causes one fault, of at most a minority of the nodes, ends it, and returns its name.
async fn strike(
    random: &mut fastrand::Rng,
    nodes: &mut [Node],
    workers: &mut Workers,
) -> std::io::Result<&'static str> {
    let a_while = Duration::from_millis(random.u64(30..1500));
    let worker = random.usize(0..workers.processes.len());
    let struck = random.choose_multiple(0..nodes.len(), random.clone().usize(1..=nodes.len() / 2));
    let one = struck[0];
    Ok(match random.u8(0..9) {
        0 => {
            for node in &struck {
                nodes[*node].server.pause();
            }
            tokio::time::sleep(a_while).await;
            for node in &struck {
                nodes[*node].server.resume();
            }
            "servers paused"
        }
        // While a node that came back empty is left out, no other may lose its data: with two such nodes of
        // five, a key could be granted a second time.
        1 | 2 if nodes.iter().all(|node| node.emptied.is_none_or(|at| at.elapsed() > worker::TTL * 2)) => {
            nodes[one].server.stop();
            if random.bool() {
                tokio::time::sleep(a_while).await;
            }
            nodes[one].server.restart();
            nodes[one].emptied = Some(Instant::now());
            "server killed, back empty"
        }
        1 | 2 => {
            for node in &struck {
                nodes[*node].proxy.cut();
            }
            "connections cut"
        }
        3 => {
            for node in &struck {
                nodes[*node].proxy.let_requests_flow(false);
            }
            tokio::time::sleep(a_while).await;
            for node in &struck {
                nodes[*node].proxy.let_requests_flow(true);
            }
            "requests delayed"
        }
        4 => {
            for node in &struck {
                nodes[*node].proxy.let_replies_flow(false);
            }
            tokio::time::sleep(a_while).await;
            for node in struck {
                nodes[node].proxy.cut();
                nodes[node].proxy.let_replies_flow(true);
            }
            "replies lost"
        }
        5 => {
            for node in &struck {
                nodes[*node].proxy.lose_requests();
            }
            tokio::time::sleep(a_while).await;
            for node in struck {
                nodes[node].proxy.cut();
                nodes[node].proxy.let_requests_flow(true);
            }
            "requests lost"
        }
        6 => {
            for node in &struck {
                nodes[*node].proxy.strand();
            }
            "connections stranded"
        }
        7 => {
            workers.signal(worker, "STOP");
            tokio::time::sleep(a_while).await;
            workers.signal(worker, "CONT");
            "worker paused"
        }
        _ => {
            workers.processes[worker].kill()?;
            workers.processes[worker].wait()?;
            workers.processes[worker] = workers.spawn()?;
            "worker killed"
        }
    })
}
