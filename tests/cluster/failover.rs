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
        Self::on(tokio::task::spawn_blocking(RedisCluster::start_with_replicas).await.unwrap()).await
    }

    /// With gates in front of the servers.
    async fn set_up_with_gates() -> Self {
        let start = || RedisCluster::start_with_gates(&[]);
        Self::on(tokio::task::spawn_blocking(start).await.unwrap()).await
    }

    async fn on(cluster: RedisCluster) -> Self {
        let name = cluster.name_at("failover-", 0).await;
        let (holder, other) = (connect(&cluster).await, connect(&cluster).await);
        let held = holder.lock(&name).ttl(MINUTE).fenced().acquire().await.unwrap();
        // The replica has the lease: what it does not have is lost.
        let copied = async || cluster.servers()[3].keys().await.contains(&format!("lock:{name}"));
        eventually(SOON, copied).await;
        Self { cluster, name, holder, other, held }
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
    scene.cluster.replaced(0).await;
    scene.lease_is_kept(waiter).await;
}

#[tokio::test]
async fn a_lease_outlives_a_planned_failover() {
    let scene = Scene::set_up().await;
    let waiter = wait(&scene.other, &scene.name);
    sleep(Duration::from_millis(100)).await;
    scene.cluster.fail_over_to(3).await;
    scene.lease_is_kept(waiter).await;
}

#[tokio::test]
async fn a_lease_outlives_its_primary_that_hangs_and_comes_back() {
    let scene = Scene::set_up().await;
    let waiter = wait(&scene.other, &scene.name);
    sleep(Duration::from_millis(100)).await;
    scene.cluster.servers()[0].pause();
    scene.cluster.replaced(0).await;
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

/// Clients reach the old primary, and the old primary answers them: it has the slot, as far as it knows.
#[tokio::test]
async fn a_lease_outlives_its_primary_that_is_cut_off_from_the_others() {
    let scene = Scene::set_up_with_gates().await;
    let waiter = wait(&scene.other, &scene.name);
    scene.cluster.cut_off(0);
    scene.cluster.replaced(0).await;
    sleep(Duration::from_millis(500)).await;
    scene.cluster.join_again();
    scene.lease_is_kept(waiter).await;
}

/// The primary has handed the key over, and dies before its message has reached the waiter.
#[tokio::test]
async fn a_waiter_whose_message_was_lost_in_a_failover_asks_by_itself() {
    if !RedisCluster::tells_servers_apart() {
        // The replica would not get what the clients are not told.
        return println!("servers before Redis 7 cannot lose messages to clients only");
    }
    let Scene { mut cluster, name, holder, other, held } = Scene::set_up_with_gates().await;
    let lock = format!("lock:{name}");
    let owner_at = async |cluster: &RedisCluster, server: usize| -> Option<String> {
        // A replica answers a client that says that it only reads.
        let server = &cluster.servers()[server];
        let dump: Option<Vec<u8>> = server.read_only(&["GET", &lock]).await;
        dump.map(|owner| String::from_utf8_lossy(&owner).into_owned())
    };
    // After a release to a waiter, the next release needs one round trip only, and so no reply.
    let first = wait(&other, &name);
    eventually(SOON, async || cluster.servers()[0].wait_queue_of(&lock).await.is_some()).await;
    held.release().await.unwrap();
    in_time(SOON, first).await.unwrap();
    let held = holder.lock(&name).ttl(MINUTE).wait(SOON).acquire().await.unwrap();
    let waiter = tokio::spawn(other.lock(&name).ttl(MINUTE).wait(MINUTE).acquire());
    eventually(SOON, async || cluster.servers()[0].waiters_of(&lock).await == 1).await;
    let before = owner_at(&cluster, 0).await;
    cluster.keep_replies_of(0);
    let release = tokio::spawn(held.release());
    eventually(SOON, async || {
        let owner = owner_at(&cluster, 0).await;
        owner.is_some() && owner != before && owner_at(&cluster, 3).await == owner
    })
    .await;
    assert!(!waiter.is_finished());
    cluster.servers_mut()[0].stop();
    cluster.replaced(0).await;
    let replaced_at = Instant::now();
    let guard = in_time(SOON, waiter).await.unwrap().unwrap();
    let gap = replaced_at.elapsed();
    println!("the waiter found its lease {gap:?} after the failover");
    assert!(gap < NEXT_CHECK, "{gap:?}");
    guard.release().await.unwrap();
    // The old holder's release was executed.
    let _ = in_time(MINUTE, release).await;
    drop(holder);
}

/// Six tasks that take one key of primary 0 in turn, half of them with fencing tokens, for this long.
struct Load {
    resource: Arc<Resource>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    async fn start(cluster: &RedisCluster, name: &str, lasts: Duration) -> Self {
        let (resource, until) = (Arc::<Resource>::default(), Instant::now() + lasts);
        let mut tasks = Vec::new();
        for number in 0..6 {
            let (locks, resource) = (connect(cluster).await, Arc::clone(&resource));
            tasks.push(tokio::spawn(resource.use_it(locks, name.to_owned(), number % 2 == 0, until)));
        }
        Self { resource, tasks }
    }

    /// Fails if there were two holders at a time, or a fencing token fell. Returns how often the key was
    /// held.
    async fn end(self) -> u64 {
        for task in self.tasks {
            in_time(MINUTE, task).await.unwrap();
        }
        self.resource.holds()
    }
}

/// The replica has all writes of the primary when that dies, so that nothing may be lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_under_load_keeps_exclusion_and_fencing() {
    let mut cluster = tokio::task::spawn_blocking(RedisCluster::start_with_replicas).await.unwrap();
    let name = cluster.name_at("load-", 0).await;
    let load = Load::start(&cluster, &name, Duration::from_secs(8)).await;
    sleep(Duration::from_millis(500)).await;
    assert!(cluster.replica_catches_up(0, 3).await);
    cluster.servers_mut()[0].stop();
    let died_at = Instant::now();
    cluster.replaced(0).await;
    println!("the replica took over after {:?}", died_at.elapsed());
    let before = load.resource.holds();
    // The tasks wait all the time, so the key is free while a waiter waits.
    let (mut longest, mut free_since) = (Duration::ZERO, None);
    while died_at.elapsed() < Duration::from_secs(6) {
        if cluster.servers()[3].has(&format!("lock:{name}")).await {
            free_since = None;
        } else {
            longest = longest.max(free_since.get_or_insert_with(Instant::now).elapsed());
        }
    }
    let after = load.resource.holds() - before;
    let holds = load.end().await;
    println!(
        "{holds} holds, {after} of them after the failover; the key was free for {longest:?} at the longest"
    );
    assert!(before > 20 && after > 20, "{before} and {after} holds");
    assert!(longest < NEXT_CHECK, "{longest:?}");
    let is_left = |key: &String| !key.contains("\u{1f}f");
    eventually(SOON + SOON, async || !cluster.keys().iter().any(is_left)).await;
}

/// A planned failover loses nothing: the old primary answers no write until the new one has all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planned_failovers_under_load_keep_exclusion_and_fencing() {
    let cluster = tokio::task::spawn_blocking(RedisCluster::start_with_replicas).await.unwrap();
    let name = cluster.name_at("load-", 0).await;
    let load = Load::start(&cluster, &name, Duration::from_secs(4)).await;
    let mut longest_failover = Duration::ZERO;
    // There and back again. Primaries do not vote for a third one so soon.
    for next in [3, 0] {
        let old = &cluster.servers()[3 - next];
        let replication = async || old.command::<String>(&["INFO", "replication"]).await;
        sleep(Duration::from_millis(300)).await;
        let ordered_at = Instant::now();
        cluster.fail_over_to(next).await;
        longest_failover = longest_failover.max(ordered_at.elapsed());
        // The old primary has to be a replica with all data before it can take over again.
        eventually(FAILOVER, async || replication().await.contains("master_link_status:up")).await;
    }
    let gap = load.resource.longest_gap();
    let holds = load.end().await;
    println!(
        "two failovers of at most {longest_failover:?}, {holds} holds; the longest time that the key was free: {gap:?}"
    );
    assert!(holds > 50, "{holds} holds");
    assert!(gap < longest_failover + NEXT_CHECK, "{gap:?}");
}
