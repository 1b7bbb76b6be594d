//! Measures one key that tasks of distlock share with one other library: how many turns each has.

use std::{
    io::{BufRead, BufReader},
    ops::Range,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::runtime::Builder;

use test_support::RedisServer;

use crate::{
    Outcome,
    contended::{self, Section, Tasks},
    measure::now,
};

/// The other libraries: those that [`Client::named`](crate::client::Client::named) knows, and the scripts of
/// `others/`.
const OTHERS: [&str; 5] = ["rslock", "rslock, 5 ms", "rds_lock", "redis_py.py", "node_redlock.mjs"];
/// How long both hold the key each time.
const SECTION: Duration = Duration::from_millis(1);
const LASTS: Duration = Duration::from_secs(10);
/// How long the other library is alone at first.
const LEAD: Duration = Duration::from_secs(1);

/// Prints the turns of 8 tasks of distlock without a pause, and of one task of each other library beside
/// them.
pub fn run() -> Outcome<()> {
    println!("8 tasks of distlock and one of another library, one key, 1 ms sections, {} s", LASTS.as_secs());
    println!("  {:<18} {:>8} {:>8}  {:>24} {:>9}", "", "ours", "theirs", "longest without, ms", "overlaps");
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    for name in OTHERS {
        let server = RedisServer::start();
        let Some(other) = start(name, &server)? else {
            println!("  {name:<18} is not installed: see benches/peers/others");
            continue;
        };
        std::thread::sleep(LEAD);
        let begin = now();
        let tasks = Tasks { count: 8, section: SECTION, pause: Duration::ZERO, lasts: LASTS };
        let ours = runtime.block_on(contended::contend("distlock", &server.url(), "mixed", tasks))?;
        let time = begin..now();
        let mut theirs = sections(other)?;
        theirs.retain(|section| time.contains(&section.start));
        let mut all: Vec<_> = ours.iter().chain(&theirs).collect();
        all.sort_unstable_by_key(|section| section.start);
        let overlaps = all.windows(2).filter(|pair| pair[1].start < pair[0].end).count();
        println!(
            "  {name:<18} {:>8} {:>8}  {:>11.0} and {:>7.0}  {overlaps:>8}",
            ours.len(),
            theirs.len(),
            longest_without(&ours, &time),
            longest_without(&theirs, &time),
        );
    }
    Ok(())
}

/// The part of the other library, in a process of its own.
pub fn work(name: &str, url: &str, key: &str) -> Outcome<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let tasks = Tasks { count: 1, section: SECTION, pause: Duration::ZERO, lasts: LEAD + LASTS };
    contended::print(&runtime.block_on(contended::contend(name, url, key, tasks))?);
    Ok(())
}

/// Starts the other library on the key of the lock `mixed`; `None` if it is not installed.
fn start(name: &str, server: &RedisServer) -> Outcome<Option<Child>> {
    let (url, key) = (server.url(), "lock:mixed");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("others").join(name);
    let (program, probe) = match script.extension().and_then(|extension| extension.to_str()) {
        Some("py") => ("python3", vec!["-c", "import redis"]),
        Some("mjs") => ("node", vec!["--input-type=module", "-e", "import 'redlock'"]),
        _ => {
            let mut worker = Command::new(std::env::current_exe()?);
            worker.args(["mixed", name, &url, key]).stdout(Stdio::piped());
            return Ok(Some(worker.spawn()?));
        }
    };
    let folder = script.parent().ok_or("no folder")?;
    let found = Command::new(program).args(probe).current_dir(folder).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let mut worker = Command::new(program);
    worker.arg(&script).args([
        &url,
        key,
        &(LEAD + LASTS).as_secs().to_string(),
        &SECTION.as_millis().to_string(),
    ]);
    Ok(Some(worker.stdout(Stdio::piped()).spawn()?))
}

/// Reads when the other library held the key.
fn sections(mut worker: Child) -> Outcome<Vec<Section>> {
    let lines = BufReader::new(worker.stdout.take().ok_or("no output")?).lines();
    let sections = lines.map(|line| Section::parse(&line?)).collect();
    worker.wait()?;
    sections
}

/// The longest part of that time in which no section began, in ms.
fn longest_without(sections: &[Section], time: &Range<u64>) -> f64 {
    let mut starts: Vec<_> = sections.iter().map(|section| section.start).collect();
    starts.extend([time.start, time.end]);
    starts.sort_unstable();
    starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0) as f64 / 1e6
}
