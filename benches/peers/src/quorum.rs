//! Measures locks on five servers, including while one of the servers hangs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use distlock::LockManager;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::MultiplexedConnection;
use tokio::{runtime::Builder, sync::Mutex, task::JoinSet, time::timeout};
use uuid::Uuid;

use test_support::RedisServer;

use crate::{
    Outcome, REPETITIONS,
    client::TTL,
    measure::{cpu_time, print_speeds, quantile, spread},
};

const NODES: usize = 5;
const NAMES: [&str; 5] = ["redis-rs", "distlock", "distlock, fenced", "rslock", "redis-lock"];

/// A library and its settings, on all servers.
#[derive(Clone)]
pub enum Quorum {
    /// Written by hand with redis-rs: asks all servers at once, and waits until a majority has said yes.
    Plain(Vec<MultiplexedConnection>, Arc<redis::Script>),
    Distlock(LockManager, bool),
    Rslock(Arc<rslock::LockManager>),
    RedisLock(Arc<Vec<Arc<Mutex<redis_027::aio::MultiplexedConnection>>>>),
}

impl Quorum {
    /// Connects the library of that name.
    pub async fn named(name: &str, servers: &[RedisServer]) -> Outcome<Self> {
        let urls: Vec<_> = servers.iter().map(RedisServer::url).collect();
        Ok(match name {
            "redis-rs" => {
                let mut connections = Vec::new();
                for url in urls {
                    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
                    redis::cmd("SCRIPT")
                        .arg("LOAD")
                        .arg(crate::client::RELEASE)
                        .exec_async(&mut connection)
                        .await?;
                    connections.push(connection);
                }
                Self::Plain(connections, Arc::new(redis::Script::new(crate::client::RELEASE)))
            }
            "rslock" => Self::Rslock(Arc::new(rslock::LockManager::new(urls))),
            "redis-lock" => {
                let mut connections = Vec::new();
                for url in urls {
                    let connection = redis_027::Client::open(url)?.get_multiplexed_async_connection().await?;
                    connections.push(Arc::new(Mutex::new(connection)));
                }
                Self::RedisLock(Arc::new(connections))
            }
            _ => {
                let hosts: Vec<_> =
                    servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
                let url = format!("redlock://{}", hosts.join(","));
                let locks = LockManager::builder().url(url).restart_delay(Duration::ZERO).connect().await?;
                Self::Distlock(locks, name.ends_with("fenced"))
            }
        })
    }

    /// Acquires and releases a key. Waits for the key if the library can.
    async fn waiting_cycle(&self, key: &str) -> Outcome<()> {
        if let Self::Distlock(locks, fenced) = self {
            let lock = locks.lock(key).ttl(TTL).wait_forever();
            let lock = if *fenced { lock.fenced() } else { lock };
            lock.acquire().await?.release().await?;
            return Ok(());
        }
        self.cycle(key).await
    }

    /// Acquires and releases a free key.
    pub async fn cycle(&self, key: &str) -> Outcome<()> {
        match self {
            Self::Plain(connections, release) => {
                let owner = Uuid::new_v4().to_string();
                let sets = connections.iter().cloned().map(|mut connection| {
                    let mut set = redis::cmd("SET");
                    set.arg(key).arg(&owner).arg("NX").arg("PX").arg(30_000);
                    async move { set.query_async::<Option<String>>(&mut connection).await }
                });
                majority(sets.collect(), |granted| granted.is_some()).await?;
                let releases = connections.iter().cloned().map(|mut connection| {
                    let mut call = redis::cmd("EVALSHA");
                    call.arg(release.get_hash()).arg(1).arg(key).arg(&owner);
                    async move { call.query_async::<i64>(&mut connection).await }
                });
                majority(releases.collect(), |released| *released == 1).await?;
            }
            Self::Distlock(locks, fenced) => {
                let lock = locks.lock(key).ttl(TTL);
                let lock = if *fenced { lock.fenced() } else { lock };
                lock.acquire().await?.release().await?;
            }
            Self::Rslock(manager) => {
                let lock = manager.lock(key.as_bytes(), TTL).await.map_err(|error| error.to_string())?;
                manager.unlock(&lock).await;
            }
            Self::RedisLock(connections) => {
                let options = redis_lock::LockAcrossOptions { ttl: TTL, ..Default::default() };
                redis_lock::lock_across(connections, key, async {}, options)
                    .await
                    .map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }
}

/// Waits until a majority has said yes. The remaining futures run on in the background: redis-rs does not
/// send the command of a future that is dropped, so releases would be lost, and nearly every cycle would find
/// its key taken.
async fn majority<T: Send + 'static, F: Future<Output = redis::RedisResult<T>> + Send + 'static>(
    mut answers: FuturesUnordered<F>,
    is_yes: impl Fn(&T) -> bool,
) -> Outcome<()> {
    let mut yes = 0;
    while yes < NODES / 2 + 1 {
        yes += usize::from(is_yes(&answers.next().await.ok_or("no majority")??));
    }
    tokio::spawn(async move { while answers.next().await.is_some() {} });
    Ok(())
}

/// Prints all tables for five servers.
pub fn run() -> Outcome<()> {
    let servers: Vec<_> = (0..NODES).map(|_| RedisServer::start()).collect();
    println!(
        "five servers, one task: latency of a cycle as a ratio to redis-rs, \
         median (least to most of {REPETITIONS})"
    );
    latency(&servers, None)?;
    throughput(&servers)?;
    contention(&servers)?;
    println!("five servers, one of them paused, one task: the same");
    latency(&servers, Some(&servers[1]))
}

/// Prints the latency of a cycle of one task, on one thread. Each library takes turns with plain redis-rs.
fn latency(servers: &[RedisServer], hangs: Option<&RedisServer>) -> Outcome<()> {
    const CYCLES: usize = 200;
    for name in NAMES {
        let mut ratios = Vec::new();
        for _ in 0..REPETITIONS {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            ratios.push(runtime.block_on(async {
                let clients =
                    [Quorum::named("redis-rs", servers).await?, Quorum::named(name, servers).await?];
                for client in &clients {
                    client.cycle("warm").await?;
                }
                // The server is paused only now, because all servers must answer while the connections are
                // made.
                hangs.inspect(|server| server.pause());
                let mut times = [Vec::new(), Vec::new()];
                let start = Instant::now();
                for _ in 0..CYCLES {
                    for ((client, key), times) in clients.iter().zip(["one", name]).zip(&mut times) {
                        let start = Instant::now();
                        let cycle = timeout(Duration::from_secs(5), client.cycle(key)).await;
                        if !matches!(cycle, Ok(Ok(()))) {
                            hangs.inspect(|server| server.resume());
                            return Outcome::Ok(f64::INFINITY);
                        }
                        times.push(start.elapsed().as_secs_f64());
                    }
                    // If cycles take seconds, a few of them are enough.
                    if start.elapsed() > Duration::from_secs(6) {
                        break;
                    }
                }
                hangs.inspect(|server| server.resume());
                let [plain, other] = times.map(|times| quantile(times, 0.5));
                Ok(other / plain)
            })?);
        }
        println!("  {name:<22} {}", spread(&ratios));
    }
    Ok(())
}

/// Prints the cycles per second of 16 tasks that want one key. Each has a client of its own, as separate
/// processes have.
fn contention(servers: &[RedisServer]) -> Outcome<()> {
    const TASKS: usize = 16;
    const TIME: Duration = Duration::from_secs(2);
    println!(
        "five servers, 16 clients, one key: cycles per second, median (least to most of {REPETITIONS}), \
         and the cycles of the least served client as a share of those of the most served"
    );
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    for name in NAMES.iter().filter(|name| **name != "redis-rs") {
        let (mut speeds, mut shares) = (Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            let served = runtime.block_on(async {
                let mut tasks = JoinSet::new();
                for _ in 0..TASKS {
                    let (client, key) = (Quorum::named(name, servers).await?, format!("contended:{name}"));
                    tasks.spawn(async move {
                        let (start, mut cycles) = (Instant::now(), 0);
                        while start.elapsed() < TIME {
                            let cycle = timeout(TIME, client.waiting_cycle(&key)).await;
                            cycles += usize::from(matches!(cycle, Ok(Ok(()))));
                        }
                        cycles
                    });
                }
                Outcome::Ok(tasks.join_all().await)
            })?;
            speeds.push(served.iter().sum::<usize>() as f64 / TIME.as_secs_f64());
            let (least, most) = (served.iter().min().unwrap_or(&0), served.iter().max().unwrap_or(&0));
            shares.push(*least as f64 / *most as f64);
        }
        println!("  {name:<22} {}   {}", spread(&speeds), spread(&shares));
    }
    Ok(())
}

/// Prints cycles per second and CPU time per cycle of 64 tasks, each with its own key, that share one client.
fn throughput(servers: &[RedisServer]) -> Outcome<()> {
    const TASKS: usize = 64;
    println!(
        "five servers, 64 tasks, a key each: ratio to redis-rs of cycles per second, and of CPU time per cycle"
    );
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let mut measured = vec![(Vec::new(), Vec::new()); NAMES.len()];
    for _ in 0..REPETITIONS {
        let mut plain = None;
        for (name, (speeds, costs)) in NAMES.iter().zip(&mut measured) {
            let cycles = if *name == "redis-lock" { 5 } else { 60 };
            let (wall, cpu) = runtime.block_on(async {
                let client = Quorum::named(name, servers).await?;
                let (start, cpu) = (Instant::now(), cpu_time());
                let mut tasks = JoinSet::new();
                for task in 0..TASKS {
                    let client = client.clone();
                    // Each library has its own keys, so that a key that one leaves locked does not block
                    // another.
                    let key = format!("{name}:{task}");
                    tasks.spawn(async move {
                        for _ in 0..cycles {
                            // Some libraries do not wait for their own release: they find the key taken, and
                            // try again.
                            while client.cycle(&key).await.is_err() {}
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
    print_speeds(&NAMES, &measured);
    Ok(())
}
