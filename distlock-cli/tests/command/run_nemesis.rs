//! `distlock run` under faults from a seed: no two commands run at a time while their `distlock` is
//! scheduled.
//!
//! ```sh
//! DISTLOCK_SEED=7 DISTLOCK_SECONDS=600 cargo test -p distlock-cli --test command nemesis -- --nocapture
//! ```

use std::{
    fs::{create_dir_all, read_to_string, remove_dir_all},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use test_support::{Proxy, RedisServer};
use tokio::{process::Command, task::JoinSet, time::sleep};

use crate::process::distlock_at;

const WORKERS: usize = 3;
const TTL: f64 = 1.0;
/// How long a `distlock` may take, after it was resumed, to kill its command.
const AT_ONCE: f64 = 0.3;
/// A thread that sleeps for 5 ms and resumes later than this shows that the host was too busy.
const BUSY: f64 = 0.025;

/// Appends the time of its beginning and of each beat. With `TERM` ignored it ends by SIGKILL only.
const BEATS: &str = r#"
[ "$STUBBORN" ] && trap '' TERM
for beat in $(seq "$BEATS"); do
    read -r up rest < /proc/uptime && echo "$RUN $up" >> "$RECORD"
    sleep 0.02
done
"#;

/// Seconds of the host's monotonic clock, as the commands read it.
fn now() -> f64 {
    let text = read_to_string("/proc/uptime").expect("the host's uptime");
    text.split(' ').next().and_then(|up| up.parse().ok()).expect("seconds")
}

/// From one time until another.
type Span = (f64, f64);

/// What happened, beside the beats.
#[derive(Default)]
struct History {
    /// When each `distlock` was stopped and resumed, by the number of its run.
    stopped: Vec<(u64, Span)>,
    /// When the key was deleted.
    deleted: Vec<Span>,
    /// When the host was too busy to schedule a thread in time.
    busy: Vec<Span>,
}

/// One command: its run, and its first and last beat.
#[derive(Debug)]
struct Ran {
    run: u64,
    from: f64,
    to: f64,
}

impl History {
    /// Whether the earlier command may run beside the later one.
    fn excuses(&self, earlier: &Ran, later: &Ran) -> bool {
        // The holder is told at its next renewal, and its lease ends after a ttl at the latest.
        let is_deleted = self
            .deleted
            .iter()
            .any(|(from, to)| *from <= later.from && earlier.from <= to + TTL && earlier.to <= to + TTL);
        let is_stopped = self.stopped.iter().any(|(run, (from, to))| {
            *run == earlier.run && *from <= later.from && earlier.to <= to + AT_ONCE
        });
        let is_busy = self.busy.iter().any(|(from, to)| *from <= earlier.to && later.from <= to + 2.0 * BUSY);
        is_deleted || is_stopped || is_busy
    }
}

/// Reads what the commands have written, in the order in which they began.
fn read(record: &PathBuf) -> Vec<Ran> {
    let mut ran: Vec<Ran> = Vec::new();
    for line in read_to_string(record).unwrap_or_default().lines() {
        let Some((Ok(run), Ok(at))) = line.split_once(' ').map(|(run, at)| (run.parse(), at.parse())) else {
            panic!("not a beat: {line:?}")
        };
        match ran.iter_mut().find(|one| one.run == run) {
            Some(one) => one.to = at,
            None => ran.push(Ran { run, from: at, to: at }),
        }
    }
    ran.sort_by(|a, b| a.from.total_cmp(&b.from));
    ran
}

/// The `distlock` of each worker that runs at the moment: its run and its process.
type Running = Arc<Mutex<[Option<(u64, u32)>; WORKERS]>>;

/// Runs one command after the other under the lock.
async fn work(worker: usize, url: String, record: PathBuf, running: Running, mut random: fastrand::Rng) {
    for number in 0.. {
        let run = number * WORKERS as u64 + worker as u64;
        let mut command = distlock_at(
            &url,
            &["run", "k", "--ttl", "1s", "--wait", "20s", "--grace", "150ms", "--", "sh", "-c", BEATS],
        );
        command
            .env("RUN", run.to_string())
            .env("RECORD", &record)
            .env("BEATS", random.u32(1..60).to_string());
        command.env("STUBBORN", if random.bool() { "yes" } else { "" });
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("distlock starts");
        running.lock().unwrap()[worker] = child.id().map(|process| (run, process));
        child.wait().await.expect("its status");
        running.lock().unwrap()[worker] = None;
        sleep(Duration::from_millis(random.u64(0..50))).await;
    }
}

async fn signal(process: u32, signal: &str) {
    // It may have ended.
    let mut kill = Command::new("kill");
    let _ = kill.args([&format!("-{signal}"), &process.to_string()]).stderr(Stdio::null()).status().await;
}

/// The servers of the locks, each behind a proxy.
struct Site {
    directory: PathBuf,
    servers: Vec<(RedisServer, Proxy)>,
}

impl Site {
    async fn start(count: usize) -> Self {
        static SITES: AtomicUsize = AtomicUsize::new(0);
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        let name = format!("distlock-nemesis-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let mut servers = Vec::new();
        for at in 0..count {
            // A server that forgets its leases breaks exclusion, and its own directory does not outlast its
            // stops.
            let data = directory.join(at.to_string());
            create_dir_all(&data).expect("a directory");
            let data = data.to_str().expect("UTF-8");
            let server =
                RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always", "--dir", data]);
            let proxy = Proxy::to(server.port()).await;
            servers.push((server, proxy));
        }
        Self { directory, servers }
    }

    /// One server by its own URL, and several as a quorum.
    fn url(&self) -> String {
        let url = |(_, proxy): &(RedisServer, Proxy)| proxy.url();
        let hosts: Vec<_> =
            self.servers.iter().map(url).map(|url| url.replace("redis://", "").replace('/', "")).collect();
        match &*hosts {
            [host] => format!("redis://{host}/"),
            // They keep their leases over a restart.
            _ => format!("redlock://{}/?restart_delay=0", hosts.join(",")),
        }
    }

    /// Some of the servers, and one at the least.
    fn some(&mut self, random: &mut fastrand::Rng) -> Vec<&mut (RedisServer, Proxy)> {
        let one = random.usize(0..self.servers.len());
        let servers = self.servers.iter_mut().enumerate();
        servers.filter(|(at, _)| *at == one || random.bool()).map(|(_, server)| server).collect()
    }

    /// Deletes the key at one server.
    async fn delete(&self, random: &mut fastrand::Rng) {
        let (server, _) = &self.servers[random.usize(0..self.servers.len())];
        server.command::<u8>(&["DEL", "lock:k"]).await;
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = remove_dir_all(&self.directory);
    }
}

/// Causes one fault, ends it, and returns its name.
async fn strike(
    random: &mut fastrand::Rng,
    site: &mut Site,
    running: &Running,
    history: &Mutex<History>,
) -> &'static str {
    let a_while = Duration::from_millis(random.u64(30..1500));
    let one = running.lock().unwrap()[random.usize(0..WORKERS)];
    match (random.u8(0..9), one) {
        (0, _) => {
            let servers = site.some(random);
            for (server, _) in &servers {
                server.pause();
            }
            sleep(a_while).await;
            for (server, _) in &servers {
                server.resume();
            }
            "servers paused"
        }
        (1, _) => {
            let mut servers = site.some(random);
            for (server, _) in &mut servers {
                server.stop();
            }
            sleep(a_while).await;
            for (server, _) in &mut servers {
                server.restart();
            }
            "servers killed and restarted"
        }
        (2, _) => {
            site.some(random).iter().for_each(|(_, proxy)| proxy.cut());
            "connections cut"
        }
        (3, _) => {
            let servers = site.some(random);
            for (_, proxy) in &servers {
                proxy.let_replies_flow(false);
            }
            sleep(a_while).await;
            for (_, proxy) in servers {
                proxy.cut();
                proxy.let_replies_flow(true);
            }
            "replies lost"
        }
        (4, _) => {
            let servers = site.some(random);
            for (_, proxy) in &servers {
                proxy.lose_requests();
            }
            sleep(a_while).await;
            for (_, proxy) in &servers {
                proxy.let_requests_flow(true);
            }
            "servers cut off, which nobody is told"
        }
        (5, _) => {
            let from = now();
            site.delete(random).await;
            // A quorum of three may have lost the key at another node, too, and not have healed it yet.
            history.lock().unwrap().deleted.push((from, now() + 0.01));
            "key deleted"
        }
        (6, Some((_, process))) => {
            signal(process, "KILL").await;
            "distlock killed"
        }
        (_, Some((run, process))) => {
            let from = now();
            signal(process, "STOP").await;
            sleep(a_while).await;
            signal(process, "CONT").await;
            history.lock().unwrap().stopped.push((run, (from, now() + 0.01)));
            "distlock stopped"
        }
        _ => "no distlock to strike",
    }
}

/// Notes when the host did not schedule this thread in time, until it is told to end.
fn watch_the_host(history: &Mutex<History>, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        let (from, start) = (now(), Instant::now());
        thread::sleep(Duration::from_millis(5));
        if start.elapsed().as_secs_f64() > BUSY {
            history.lock().unwrap().busy.push((from, now() + 0.01));
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nemesis_brings_no_two_commands_together_while_distlock_is_scheduled() {
    run(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nemesis_of_a_quorum_brings_no_two_commands_together() {
    run(3).await;
}

async fn run(servers: usize) {
    let seed = number("DISTLOCK_SEED").unwrap_or_else(|| fastrand::u64(0..1_000_000));
    let seconds = Duration::from_secs(number("DISTLOCK_SECONDS").unwrap_or(15));
    println!("DISTLOCK_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut site = Site::start(servers).await;
    let record = site.directory.join("record");
    let (running, history) = (Running::default(), Arc::<Mutex<History>>::default());
    let ends = Arc::<AtomicBool>::default();
    let (seen, until) = (Arc::clone(&history), Arc::clone(&ends));
    let watch = thread::spawn(move || watch_the_host(&seen, &until));
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        workers.spawn(work(worker, site.url(), record.clone(), Arc::clone(&running), random.fork()));
    }
    let (end, mut faults) = (Instant::now() + seconds, Vec::new());
    while Instant::now() < end {
        sleep(Duration::from_millis(random.u64(50..900))).await;
        faults.push(strike(&mut random, &mut site, &running, &history).await);
    }
    workers.shutdown().await;
    ends.store(true, Ordering::Relaxed);
    watch.join().unwrap();
    let (ran, history) = (read(&record), history.lock().unwrap());
    let pairs =
        ran.iter().enumerate().flat_map(|(at, one)| ran[at + 1..].iter().map(move |other| (one, other)));
    let together: Vec<_> = pairs.filter(|(earlier, later)| later.from < earlier.to).collect();
    let not_excused: Vec<_> =
        together.iter().filter(|(earlier, later)| !history.excuses(earlier, later)).collect();
    println!(
        "{} commands, {} faults, {} excused",
        ran.len(),
        faults.len(),
        together.len() - not_excused.len()
    );
    println!("the host was busy {} times", history.busy.len());
    assert!(
        not_excused.is_empty(),
        "commands ran together with DISTLOCK_SEED={seed}: {not_excused:#?} {faults:?}"
    );
    assert!(ran.len() >= 5 && faults.len() >= 5, "{} commands, {} faults", ran.len(), faults.len());
}
