//! Counts instructions and allocations by valgrind. The counts are the same on a busy machine.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tokio::runtime::Builder;

use crate::Outcome;

const NAMES: [&str; 4] = ["redis-rs", "distlock", "distlock, fenced", "rslock"];
/// Cycles of each of the 64 tasks of [`cycles`](crate::cycles). The difference between two runs is what
/// cycles cost without the program's start.
const CYCLES: [usize; 2] = [20, 120];

/// Prints what a cycle costs, as a table in Markdown.
pub fn run() -> Outcome<()> {
    println!(
        "| | instructions of the client | of redis-rs | instructions of the server | of redis-rs | allocations |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut plain = None;
    for name in NAMES {
        let client = a_cycle(|cycles| of_client(name, cycles))?;
        let server = a_cycle(|cycles| of_server(name, cycles))?;
        let allocations = a_cycle(|cycles| allocations(name, cycles))?;
        let (plain_client, plain_server) = *plain.get_or_insert((client, server));
        println!(
            "| {name} | {client:.0} | {:.2} | {server:.0} | {:.2} | {allocations:.1} |",
            client / plain_client,
            server / plain_server
        );
    }
    Ok(())
}

/// Returns the share of one cycle in a count.
fn a_cycle(count: impl Fn(usize) -> Outcome<f64>) -> Outcome<f64> {
    let [few, many] = CYCLES.map(count);
    Ok((many? - few?) / (64 * (CYCLES[1] - CYCLES[0])) as f64)
}

fn of_client(name: &str, cycles: usize) -> Outcome<f64> {
    let counts = tempfile("client");
    let mut callgrind = callgrind(&counts);
    callgrind.arg(std::env::current_exe()?).args(["cycles", name, &cycles.to_string()]);
    if !callgrind.stderr(Stdio::null()).status()?.success() {
        return Err("valgrind failed; is it installed?".into());
    }
    instructions(&counts)
}

fn of_server(name: &str, cycles: usize) -> Outcome<f64> {
    let (counts, port) = (tempfile("server"), test_support::free_port());
    let mut callgrind = callgrind(&counts);
    callgrind.args(["redis-server", "--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()]);
    let mut server = callgrind.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let url = format!("redis://127.0.0.1:{port}/");
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let client = redis::Client::open(&*url)?;
        let mut connection = loop {
            match client.get_multiplexed_async_connection().await {
                Ok(connection) => break connection,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        crate::turns::fresh(&["cycles", name, &cycles.to_string(), &url])?;
        // The server answers by closing the connection.
        let _ = redis::cmd("SHUTDOWN").arg("NOSAVE").exec_async(&mut connection).await;
        Outcome::Ok(())
    })?;
    server.wait()?;
    instructions(&counts)
}

fn allocations(name: &str, cycles: usize) -> Outcome<f64> {
    let mut memcheck = Command::new("valgrind");
    let output =
        memcheck.arg(std::env::current_exe()?).args(["cycles", name, &cycles.to_string()]).output()?;
    let text = String::from_utf8_lossy(&output.stderr).replace(',', "");
    let usage = text.split_once("total heap usage: ").and_then(|(_, usage)| usage.split(' ').next());
    Ok(usage.ok_or("valgrind failed")?.parse()?)
}

fn tempfile(what: &str) -> String {
    let file = format!("peers-callgrind-{what}-{}", std::process::id());
    std::env::temp_dir().join(file).to_string_lossy().into_owned()
}

fn callgrind(counts: &str) -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", &format!("--callgrind-out-file={counts}")]);
    valgrind
}

/// Reads how many instructions callgrind has counted, and removes its file.
fn instructions(counts: impl AsRef<Path>) -> Outcome<f64> {
    let text = std::fs::read_to_string(&counts)?;
    std::fs::remove_file(counts)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("no total")?.parse()?)
}
