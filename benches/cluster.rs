//! Measures locks on a cluster, and locks that wait for a replica, as ratios within one run.
//!
//! `cargo bench --features cluster --bench cluster`
//!
//! - Acquire and release of a free key on a cluster, beside the same two commands by redis-rs's cluster
//!   connection.
//! - A hand-over on a cluster, beside one on a single server.
//! - Acquire and release with `replicas = 1`, beside the same without.
//!
//! Those that are compared take turns, because the speed of a shared machine changes.

use std::time::{Duration, Instant};

use distlock::LockManager;
use redis::{aio::ConnectionLike, cluster::ClusterClient};
use test_support::{RedisCluster, RedisServer};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};
use uuid::Uuid;

const TASKS: u64 = 64;
const RUNS: usize = 20;
/// The release script that a careful user of redis-rs would write by hand.
const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Something that is measured. A clone shares its connections.
trait Step: Clone + Send + 'static {
    /// Does it once, with a key of this number.
    fn step(&mut self, key: u64) -> impl Future<Output = ()> + Send;
}

/// Acquire and release.
#[derive(Clone)]
struct Cycle(LockManager);

impl Step for Cycle {
    async fn step(&mut self, key: u64) {
        let guard = self.0.lock(format!("key-{key}")).acquire().await.expect("the key is free");
        guard.release().await.expect("the key was ours");
    }
}

/// The same two commands by redis-rs.
#[derive(Clone)]
struct Plain<C>(C, redis::Script);

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Step for Plain<C> {
    async fn step(&mut self, key: u64) {
        let (key, owner) = (format!("plain-{key}"), Uuid::new_v4().to_string());
        let mut set = redis::cmd("SET");
        set.arg(&key).arg(&owner).arg("NX").arg("PX").arg(30_000);
        let set: Option<String> = set.query_async(&mut self.0).await.expect("SET");
        assert!(set.is_some(), "{key} is free");
        let deleted: i64 = self.1.key(&key).arg(&owner).invoke_async(&mut self.0).await.expect("release");
        assert_eq!(deleted, 1, "{key} was ours");
    }
}

/// A hand-over from one manager to another, and back.
#[derive(Clone)]
struct HandOver([LockManager; 2]);

impl HandOver {
    /// Returns the time from a release to the waiter's grant.
    async fn measure(&self) -> Duration {
        let [holder, waiter] = &self.0;
        let held = holder.lock("hot").wait_forever().acquire().await.expect("the key is free");
        let acquire = waiter.lock("hot").wait_forever().acquire();
        let waits = tokio::spawn(async {
            let guard = acquire.await.expect("the key is handed over");
            let granted_at = Instant::now();
            guard.release().await.expect("the key was ours");
            granted_at
        });
        // The waiter joins the queue.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let released_at = Instant::now();
        let released = held.release();
        let (granted_at, released) = tokio::join!(waits, released);
        released.expect("the key was ours");
        granted_at.expect("the waiter's task").saturating_duration_since(released_at)
    }
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let cluster = RedisCluster::start();
    let (server, primary) = (RedisServer::start(), RedisServer::start());
    let port = primary.port().to_string();
    let _replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    runtime.block_on(async {
        while primary.replicas().await < 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });

    println!("median of ratios (quartiles)");
    let latency = quartiles(|| {
        on_one_thread(async {
            let (mut plain, mut ours) = (plain(&cluster).await, Cycle(connect(&cluster.url()).await));
            alternate(&mut plain, &mut ours).await
        })
    });
    println!("  latency on a cluster, 1 task:               {latency} of redis-rs's cluster connection");

    let (plain, ours) = runtime.block_on(async { (plain(&cluster).await, connect(&cluster.url()).await) });
    let throughput = quartiles(|| {
        let theirs = runtime.block_on(crowd(&plain));
        theirs.as_secs_f64() / runtime.block_on(crowd(&Cycle(ours.clone()))).as_secs_f64()
    });
    println!(
        "  throughput on a cluster, {TASKS} tasks:         {throughput} of redis-rs's cluster connection"
    );

    let hand_over = quartiles(|| {
        on_one_thread(async {
            let url = cluster.url();
            let there = HandOver([connect(&url).await, connect(&url).await]);
            let here = HandOver([connect(&server.url()).await, connect(&server.url()).await]);
            let (mut on_cluster, mut on_server) = (Vec::new(), Vec::new());
            for _ in 0..100 {
                on_cluster.push(there.measure().await);
                on_server.push(here.measure().await);
            }
            median(on_cluster) / median(on_server)
        })
    });
    println!("  hand-over on a cluster:                     {hand_over} of one server");

    let replicas = quartiles(|| {
        on_one_thread(async {
            let url = primary.url();
            let mut without = Cycle(connect(&url).await);
            let mut with = Cycle(connect(&format!("{url}?replicas=1")).await);
            alternate(&mut without, &mut with).await
        })
    });
    println!("  latency with replicas = 1, 1 task:          {replicas} of none");
}

/// Runs a future on one thread. On several, it is luck on which one the task of a connection runs.
fn on_one_thread<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

async fn connect(url: &str) -> LockManager {
    LockManager::connect(url).await.expect("a manager")
}

async fn plain(cluster: &RedisCluster) -> impl Step + use<> {
    let client = ClusterClient::new(cluster.urls()).expect("URLs");
    Plain(client.get_async_connection().await.expect("a connection"), redis::Script::new(RELEASE))
}

/// Returns the ratio of the median latencies of two steps, which take turns in one task.
async fn alternate(theirs: &mut impl Step, ours: &mut impl Step) -> f64 {
    let (mut of_theirs, mut of_ours) = (Vec::new(), Vec::new());
    for number in 0..400 {
        // All primaries get their share.
        let start = Instant::now();
        theirs.step(number % 16).await;
        of_theirs.push(start.elapsed());
        let start = Instant::now();
        ours.step(number % 16).await;
        of_ours.push(start.elapsed());
    }
    median(of_ours) / median(of_theirs)
}

/// Runs 200 steps in each of 64 tasks, each task on its own key. Returns the wall time of all.
async fn crowd(step: &impl Step) -> Duration {
    let start = Instant::now();
    let mut all = JoinSet::new();
    for task in 0..TASKS {
        let mut step = step.clone();
        all.spawn(async move {
            for _ in 0..200 {
                step.step(task).await;
            }
        });
    }
    all.join_all().await;
    start.elapsed()
}

/// The median in seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

/// The median and the quartiles of some runs, as text.
fn quartiles(run: impl FnMut() -> f64) -> String {
    let mut ratios: Vec<f64> = std::iter::repeat_with(run).take(RUNS).collect();
    ratios.sort_by(f64::total_cmp);
    let [low, median, high] = [1, 2, 3].map(|quarter| ratios[ratios.len() * quarter / 4]);
    format!("{median:.2} ({low:.2} to {high:.2})")
}
