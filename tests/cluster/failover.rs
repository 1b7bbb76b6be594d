//! A primary fails, is asked to step down, or hangs: its replica takes over with the locks that it has.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use distlock::{LockError, LockGuard, LockManager};
use test_support::{RedisCluster, eventually, in_time};
use tokio::{task::JoinHandle, time::sleep};

use super::{MINUTE, NEXT_CHECK, SOON, connect, resource::Resource};

/// A failover, by which the cluster finds out that a primary is down and elects its replica.
const FAILOVER: Duration = Duration::from_secs(20);
/// A cluster with replicas, whose primary 0 has a lock on the name.
struct Scene {
    cluster: RedisCluster,
    name: String,
    holder: LockManager,
    other: LockManager,
    held: LockGuard,
}

/// A waiter of the held key, which answers when it was granted, and releases.
fn wait(locks: &LockManager, name: &str) -> JoinHandle<Instant> {
    // The ttl is shorter than the failover.
    let acquire = locks.lock(name).ttl(Duration::from_millis(500)).wait(MINUTE).acquire();
    tokio::spawn(async move {
        let guard = acquire.await.unwrap();
        let granted_at = Instant::now();
        guard.release().await.unwrap();
        granted_at
    })
}

impl Scene {
    async fn set_up() -> Self {
        let cluster = tokio::task::spawn_blocking(RedisCluster::start_with_replicas).await.unwrap();
        let name = cluster.name_at("failover-", 0).await;
        let (holder, other) = (connect(&cluster).await, connect(&cluster).await);
        let held = holder.lock(&name).ttl(MINUTE).fenced().acquire().await.unwrap();
        // The replica has the lease: what it does not have is lost.
        let copied = async || cluster.servers()[3].keys().await.contains(&format!("lock:{name}"));
        eventually(SOON, copied).await;
        Self { cluster, name, holder, other, held }
    }

    /// Waits until the replica of primary 0 has taken over, as the other primaries see it.
    async fn replica_takes_over(&self) {
        let port = self.cluster.servers()[3].port();
        let has_slot = async || {
            let text: String = self.cluster.servers()[1].command(&["CLUSTER", "NODES"]).await;
            text.lines().any(|line| line.contains(&format!(":{port}@")) && line.contains("master"))
        };
        eventually(FAILOVER, has_slot).await;
    }

    /// The lease goes on at the new primary, which excludes others, and whose tokens are above the holder's.
    async fn lease_is_kept(self, waiter: JoinHandle<Instant>) {
        let Self { cluster, name, other, held, holder } = self;
        assert!(held.is_held());
        let renewed = async || held.renew().await.is_ok();
        eventually(SOON, renewed).await;
        let busy = async || matches!(other.lock(&name).acquire().await, Err(LockError::Busy { .. }));
        eventually(SOON, busy).await;
        // Time for the waiter to come to the new primary.
        sleep(NEXT_CHECK).await;
        assert!(!waiter.is_finished(), "there are two holders");
        let fence = held.fencing_token();
        let freed_at = Instant::now();
        held.release().await.unwrap();
        let gap = in_time(SOON, waiter).await.unwrap().saturating_duration_since(freed_at);
        println!("the key was free for {gap:?} while a waiter waited");
        assert!(gap < NEXT_CHECK, "{gap:?}");
        let next = other.lock(&name).fenced().wait(SOON).acquire().await.unwrap();
        assert!(next.fencing_token() > fence, "{:?} after {fence:?}", next.fencing_token());
        next.release().await.unwrap();
        drop(holder);
        let is_left = |key: &String| !key.contains("\u{1f}f");
        eventually(SOON + SOON, async || !cluster.keys().iter().any(is_left)).await;
    }
}

#[tokio::test]
async fn a_lease_outlives_its_primary_that_is_killed() {
    let mut scene = Scene::set_up().await;
    let waiter = wait(&scene.other, &scene.name);
    let killed = scene.cluster.name_at("killed-", 0).await;
    scene.cluster.servers_mut()[0].stop();
    // Nobody serves the key: an error says so, and it is not "busy".
    match scene.holder.lock(&killed).acquire().await {
        Err(LockError::Store { source, .. }) => assert!(source.is_transient(), "{source}"),
        other => panic!("{other:?}"),
    }
    scene.replica_takes_over().await;
    scene.lease_is_kept(waiter).await;
}

#[tokio::test]
async fn a_lease_outlives_a_planned_failover() {
    let scene = Scene::set_up().await;
    let waiter = wait(&scene.other, &scene.name);
    sleep(Duration::from_millis(100)).await;
    scene.cluster.fail_over_to(3).await;
    scene.replica_takes_over().await;
    scene.lease_is_kept(waiter).await;
}

#[tokio::test]
async fn a_lease_outlives_its_primary_that_hangs_and_comes_back() {
    let scene = Scene::set_up().await;
    let waiter = wait(&scene.other, &scene.name);
    sleep(Duration::from_millis(100)).await;
    scene.cluster.servers()[0].pause();
    scene.replica_takes_over().await;
    scene.cluster.servers()[0].resume();
    scene.lease_is_kept(waiter).await;
}

#[tokio::test]
async fn a_waiting_call_survives_a_failover() {
    let mut scene = Scene::set_up().await;
    let name = scene.cluster.name_at("unheld-", 0).await;
    scene.cluster.servers_mut()[0].stop();
    let waiter = wait(&scene.other, &name);
    in_time(FAILOVER, waiter).await.unwrap();
    drop(scene.held);
}

/// A planned failover loses nothing: the old primary answers no write until the new one has all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planned_failovers_under_load_keep_exclusion_and_fencing() {
    let cluster = tokio::task::spawn_blocking(RedisCluster::start_with_replicas).await.unwrap();
    let name = cluster.name_at("load-", 0).await;
    let until = Instant::now() + Duration::from_secs(4);
    let resource = Arc::<Resource>::default();
    let mut tasks = Vec::new();
    for number in 0..6 {
        let locks = connect(&cluster).await;
        let resource = Arc::clone(&resource);
        tasks.push(tokio::spawn(resource.use_it(locks, name.clone(), number % 2 == 0, until)));
    }
    // There and back again. Primaries do not vote for a third one so soon.
    for next in [3, 0] {
        let old = &cluster.servers()[3 - next];
        let replication = async || old.command::<String>(&["INFO", "replication"]).await;
        sleep(Duration::from_millis(300)).await;
        cluster.fail_over_to(next).await;
        // The old primary has to be a replica with all data before it can take over again.
        eventually(FAILOVER, async || replication().await.contains("master_link_status:up")).await;
    }
    for task in tasks {
        in_time(MINUTE, task).await.unwrap();
    }
    let (gap, holds) = (resource.longest_gap(), resource.holds());
    println!("two failovers, {holds} holds; the longest time that the key was free: {gap:?}");
    assert!(holds > 50, "{holds} holds");
}
