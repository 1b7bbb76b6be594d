//! Measures free keys on a multi-thread runtime, each time in a fresh process, beside plain redis-rs in the
//! same process.

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::Instant,
};

use test_support::RedisServer;
use tokio::{runtime::Builder, task::JoinSet};

use crate::{
    Outcome,
    client::Client,
    measure::{ServerCpu, cpu_time, quantile},
    table::{Target, print_row},
    turns::in_turns,
};

/// How often the two clients take turns in a process.
const TURNS: usize = 6;

/// What a number of cycles took.
#[derive(Default)]
struct Taken {
    cycles: f64,
    wall: f64,
    client_cpu: f64,
    server_cpu: f64,
    /// Of each cycle, in seconds.
    latencies: Vec<f64>,
}

/// The part of one process: prints the ratios of a library to plain redis-rs, and how much of the server's
/// CPU time a cycle takes, in microseconds.
///
/// The ratios are those of the median latency, of the cycles per second, of the client's CPU time, and of the
/// server's.
pub fn work(tasks: usize, name: &str, url: &str) -> Outcome<()> {
    let cycles = if tasks == 1 { 300 } else { 100 };
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let clients = [Client::named("redis-rs", url).await?, Client::named(name, url).await?];
        let mut server = ServerCpu::of(url).await?;
        for client in &clients {
            run(client, tasks, 20).await?;
        }
        let mut taken = [Taken::default(), Taken::default()];
        for turn in 0..TURNS {
            for which in [turn % 2, 1 - turn % 2] {
                let (cpu, server_cpu) = (cpu_time(), server.read().await?);
                let (start, taken) = (Instant::now(), &mut taken[which]);
                taken.latencies.extend(run(&clients[which], tasks, cycles).await?);
                taken.wall += start.elapsed().as_secs_f64();
                taken.client_cpu += cpu_time() - cpu;
                taken.server_cpu += server.read().await? - server_cpu;
                taken.cycles += (tasks * cycles) as f64;
            }
        }
        let [plain, other] = taken;
        let latency = |taken: &Taken| quantile(taken.latencies.clone(), 0.5);
        println!(
            "{} {} {} {} {}",
            latency(&other) / latency(&plain),
            plain.wall / other.wall,
            other.client_cpu / plain.client_cpu,
            other.server_cpu / plain.server_cpu,
            other.server_cpu / other.cycles * 1e6,
        );
        Ok(())
    })
}

/// Runs `cycles` cycles in each of `tasks` tasks, each on its own key. Returns the latency of each cycle.
async fn run(client: &Client, tasks: usize, cycles: usize) -> Outcome<Vec<f64>> {
    let latencies = Arc::new(Mutex::new(Vec::with_capacity(tasks * cycles)));
    let mut all = JoinSet::new();
    for task in 0..tasks {
        let (client, latencies) = (client.clone(), Arc::clone(&latencies));
        all.spawn(async move {
            let (key, mut mine) = (format!("own:{task}"), Vec::with_capacity(cycles));
            for _ in 0..cycles {
                let start = Instant::now();
                client.locked(&key, || async {}).await;
                mine.push(start.elapsed().as_secs_f64());
            }
            latencies.lock().expect("no panic").append(&mut mine);
        });
    }
    all.join_all().await;
    Ok(std::mem::take(&mut *latencies.lock().expect("no panic")))
}

/// Prints the rows of free keys.
pub fn rows(rounds: usize) -> Outcome<()> {
    let server = RedisServer::start();
    let url = &server.url();
    let one = in_turns(
        rounds,
        &[
            &["free", "1", "distlock", url],
            &["free", "1", "rslock", url],
            &["free", "1", "distlock, background", url],
            &["free", "1", "distlock, fenced", url],
        ],
    )?;
    let of = |what| format!("{what}, of redis-rs");
    print_row(&of("one task: latency"), &one[0][0], &one[1][0], Target::AtMost(1.05));
    print_row(&of("one task, background: latency"), &one[2][0], &[], Target::AtMost(0.6));
    print_row(&of("one task, fenced: latency"), &one[3][0], &[], Target::AtMost(1.15));
    print_row(&of("one task: CPU time of the client"), &one[0][2], &one[1][2], Target::AtMost(1.1));
    wake_ups(url)?;
    let many = in_turns(
        rounds,
        &[
            &["free", "64", "distlock", url],
            &["free", "64", "rslock", url],
            &["free", "64", "distlock, fenced", url],
        ],
    )?;
    let (ours, rslock, fenced) = (&many[0], &many[1], &many[2]);
    print_row(&of("64 tasks: cycles per second"), &ours[1], &rslock[1], Target::AheadOfRslock(0.95));
    print_row(&of("64 tasks: CPU time of the client"), &ours[2], &rslock[2], Target::AtMost(1.15));
    print_row(&of("64 tasks, fenced: cycles per second"), &fenced[1], &[], Target::AtLeast(0.6));
    print_row(&of("64 tasks, fenced: CPU time of the client"), &fenced[2], &[], Target::None);
    print_row(&of("64 tasks: CPU time of the server"), &ours[3], &rslock[3], Target::None);
    print_row("64 tasks: CPU time of the server, us a cycle", &ours[4], &rslock[4], Target::None);
    let of_unfenced: Vec<f64> = fenced[4].iter().zip(&ours[4]).map(|(fenced, ours)| fenced / ours).collect();
    let what = "64 tasks, fenced: CPU time of the server, of unfenced";
    print_row(what, &of_unfenced, &[], Target::AtMost(2.0));
    Ok(())
}

/// Prints how often a process with one task wakes threads, if strace is installed: by calls of futex, and by
/// writes to the runtime's eventfd.
fn wake_ups(url: &str) -> Outcome<()> {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("strace is not installed: no row of system calls");
        return Ok(());
    }
    let [plain, ours, rslock] = ["redis-rs", "distlock", "rslock"].map(|name| traced(name, url));
    let (plain, ours, rslock) = (plain?, ours?, rslock?);
    for (call, what) in ["futex calls", "writes to the eventfd"].into_iter().enumerate() {
        let what = format!("one task, 2,000 cycles: {what} (redis-rs: {:.0})", plain[call]);
        print_row(&what, &[ours[call]], &[rslock[call]], Target::AtMost(100.0));
    }
    Ok(())
}

/// Returns how many calls of futex and write a process makes that runs 2,000 cycles in one task. It writes to
/// its sockets by other calls.
fn traced(name: &str, url: &str) -> Outcome<[f64; 2]> {
    let output = std::env::temp_dir().join(format!("peers-strace-{}", std::process::id()));
    let status = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&output)
        .arg(std::env::current_exe()?)
        .args(["one", name, "2000", url])
        .status()?;
    let text = std::fs::read_to_string(&output)?;
    std::fs::remove_file(output)?;
    if !status.success() {
        return Err(format!("strace failed: {text}").into());
    }
    Ok(["futex", "write"].map(|call| {
        let row = text.lines().find(|line| line.split_whitespace().last() == Some(call));
        row.and_then(|row| row.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0.0)
    }))
}

/// The part of a process under strace: runs cycles in one task on two threads.
pub fn one(name: &str, cycles: usize, url: &str) -> Outcome<()> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let client = Client::named(name, url).await?;
        run(&client, 1, cycles).await.map(drop)
    })
}
