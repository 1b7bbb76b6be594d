//! Measures acquire and release of a free key, beside the same two commands sent by plain redis-rs.
//!
//! `cargo bench --bench cycle`
//!
//! Criterion's own figures come first. It measures one client after the other, and the speed of a shared
//! machine changes meanwhile. So the ratios at the end come from measurements of their own, in which the two
//! clients take turns.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use distlock::{LockGuard, LockManager};
use redis::aio::MultiplexedConnection;
use test_support::RedisServer;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use uuid::Uuid;

const TASKS: u64 = 64;
/// The release script that a careful user of redis-rs would write by hand.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

#[derive(Clone)]
enum Client {
    Plain(MultiplexedConnection, redis::Script),
    Distlock(LockManager),
}

impl Client {
    fn name(&self) -> &'static str {
        match self {
            Self::Plain(..) => "redis-rs",
            Self::Distlock(_) => "distlock",
        }
    }

    async fn cycle(&mut self, key: &str) {
        match self {
            Self::Plain(connection, release) => {
                let owner = Uuid::new_v4().to_string();
                let set: Option<String> = redis::cmd("SET")
                    .arg(key)
                    .arg(&owner)
                    .arg("NX")
                    .arg("PX")
                    .arg(30_000)
                    .query_async(connection)
                    .await
                    .expect("SET");
                assert!(set.is_some(), "{key} is free");
                let deleted: i64 =
                    release.key(key).arg(&owner).invoke_async(connection).await.expect("release");
                assert_eq!(deleted, 1, "{key} was ours");
            }
            Self::Distlock(manager) => {
                let guard: LockGuard = manager.lock(key).acquire().await.expect("the key is free");
                guard.release().await.expect("the key was ours");
            }
        }
    }

    /// Runs `cycles` cycles in each of `tasks` tasks, each task on its own key. Returns the wall time of all.
    async fn run(&self, tasks: u64, cycles: u64) -> Duration {
        let start = Instant::now();
        let mut all = JoinSet::new();
        for task in 0..tasks {
            let mut client = self.clone();
            let key = format!("{}:{task}", client.name());
            all.spawn(async move {
                for _ in 0..cycles {
                    client.cycle(&key).await;
                }
            });
        }
        all.join_all().await;
        start.elapsed()
    }
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let all = runtime.block_on(clients(&server));

    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    for tasks in [1, TASKS] {
        let mut group = criterion.benchmark_group(format!("acquire + release, {tasks} tasks"));
        group.throughput(Throughput::Elements(tasks));
        for client in &all {
            group.bench_function(client.name(), |b| {
                b.iter_custom(|cycles| runtime.block_on(client.run(tasks, cycles)));
            });
        }
        group.finish();
    }
    criterion.final_summary();

    println!("\ndistlock beside plain redis-rs, the same commands, median of ratios (quartiles):");
    let latency = quartiles((0..40).map(|_| {
        // One thread. On several, a cycle takes between 40 and 130 us with either client, depending on the
        // thread that tokio happens to choose for the connection's task.
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let [mut plain, mut distlock] = runtime.block_on(clients(&server));
        runtime.block_on(alternate(&mut plain, &mut distlock))
    }));
    let [plain, distlock] = all;
    println!("  latency, 1 task:       {latency} of redis-rs");
    let throughput = quartiles((0..30).map(|_| {
        let theirs = runtime.block_on(plain.run(TASKS, 200));
        let ours = runtime.block_on(distlock.run(TASKS, 200));
        theirs.as_secs_f64() / ours.as_secs_f64()
    }));
    println!("  throughput, {TASKS} tasks:  {throughput} of redis-rs");
}

/// Both clients, each with a connection of its own.
async fn clients(server: &RedisServer) -> [Client; 2] {
    let connection =
        redis::Client::open(server.url()).expect("a URL").get_multiplexed_async_connection().await;
    [
        Client::Plain(connection.expect("a connection"), redis::Script::new(RELEASE)),
        Client::Distlock(LockManager::connect(server.url()).await.expect("a manager")),
    ]
}

/// Returns the ratio of the median latencies of two clients. They take turns cycle by cycle in one task, so
/// that the state of the machine, such as a processor that sleeps between packets, is the same for both.
async fn alternate(theirs: &mut Client, ours: &mut Client) -> f64 {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..400 {
        for (client, times) in [&mut *theirs, &mut *ours].into_iter().zip(&mut times) {
            let start = Instant::now();
            client.cycle("one").await;
            times.push(start.elapsed());
        }
    }
    let [theirs, ours] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2].as_secs_f64()
    });
    ours / theirs
}

/// The median and the quartiles, as text.
fn quartiles(ratios: impl Iterator<Item = f64>) -> String {
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    let [low, median, high] = [1, 2, 3].map(|quarter| ratios[ratios.len() * quarter / 4]);
    format!("{median:.2} ({low:.2} to {high:.2})")
}
