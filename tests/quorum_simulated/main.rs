//! The code of the quorum over simulated nodes, in virtual time: thousands of schedules, each from a seed. A
//! binary of its own: it computes all the time, which would delay tests with real servers.
//!
//! ```sh
//! # One schedule of each kind, with the seed of a failure.
//! DISTLOCK_SEED=7 cargo test --test quorum_simulated
//! # 40 times as many.
//! DISTLOCK_TIMES=40 cargo test --release --test quorum_simulated
//! ```

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::{HolderId, LockManager, LostReason, QuorumStore};
use network::{Faults, LONGEST_DELAY, Node, PATIENCE, TTL, World};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

mod network;

const CLIENTS: u64 = 3;

/// One grant. Times are measured from the beginning of the schedule.
#[derive(Debug)]
#[expect(dead_code, reason = "shown in the message of a failure")]
struct Grant {
    client: u64,
    /// What breaks call it.
    holders: HashSet<HolderId>,
    fence: u64,
    asked: Duration,
    from: Duration,
    to: Duration,
    lost: Option<LostReason>,
}

/// One break. Times are measured from the beginning of the schedule.
#[derive(Debug)]
struct Break {
    holder: HolderId,
    asked: Duration,
    /// When a majority had answered; `None` if it did not.
    done: Option<Duration>,
}

/// The result of a schedule.
#[derive(Debug, Default)]
struct Outcome {
    grants: Vec<Grant>,
    /// How many clients did not get the key after the faults.
    stuck: usize,
    /// How many times a node has taken a lease again.
    heals: usize,
    breaks: Vec<Break>,
    /// How many times a node has taken a lease again for an owner that it was told to break.
    healed_past_a_break: usize,
    /// How many renewals have succeeded that began after the break was done.
    renewed_past_a_break: usize,
}

impl Outcome {
    /// Pairs of grants that were valid at the same time. A broken holder may run on beside those who came
    /// after its break was asked for.
    fn overlaps(&self) -> Vec<[&Grant; 2]> {
        let grants = self.begun_unbroken();
        let pairs = grants
            .iter()
            .enumerate()
            .flat_map(|(at, earlier)| grants[at + 1..].iter().map(move |later| [*earlier, *later]));
        pairs
            .filter(|[earlier, later]| later.from < earlier.to && !self.is_broken_before(earlier, later.from))
            .collect()
    }

    /// Grants that went on for more than a ttl after their break was done. The latest renewal that can
    /// succeed was sent before.
    fn outlived_breaks(&self) -> Vec<(&Grant, &Break)> {
        let ends = |grant: &Grant, one: &Break| Some(one.done?.max(grant.from) + TTL);
        let pairs = self.grants.iter().flat_map(|grant| self.breaks_of(grant).map(move |one| (grant, one)));
        pairs.filter(|(grant, one)| ends(grant, one).is_some_and(|end| grant.to > end)).collect()
    }

    fn breaks_of(&self, grant: &Grant) -> impl Iterator<Item = &Break> {
        self.breaks.iter().filter(|one| grant.holders.contains(&one.holder))
    }

    fn is_broken_before(&self, grant: &Grant, instant: Duration) -> bool {
        self.breaks_of(grant).any(|one| one.asked <= instant)
    }

    /// The grants that were not broken before they began. A grant and its break can pass each other on the
    /// network, with one server too. The holder is then one that runs on until its next renewal.
    fn begun_unbroken(&self) -> Vec<&Grant> {
        self.grants.iter().filter(|grant| !self.is_broken_before(grant, grant.from)).collect()
    }

    /// Pairs of grants of which the second has no higher token.
    fn stale(&self) -> Vec<[&Grant; 2]> {
        let grants = self.begun_unbroken();
        let pairs = grants.windows(2).map(|pair| [pair[0], pair[1]]);
        pairs.filter(|[earlier, later]| later.fence <= earlier.fence).collect()
    }
}

/// Runs one schedule, with three nodes or five as its seed decides.
fn run(seed: u64, faults: Faults) -> Outcome {
    // Makes the jitter of the library repeatable.
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed, faults);
        let nodes: Vec<_> =
            (0..if seed.is_multiple_of(2) { 3 } else { 5 }).map(|_| Node::new(&world)).collect();
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let named = nodes
                .iter()
                .enumerate()
                .map(|(at, node)| (format!("n{at}"), Box::new(node.for_client()) as _));
            let off = world.draw(|random| random.i64(-40_000..40_000));
            let store = Arc::new(QuorumStore::with_clock(named, world.wall_clock(off)).unwrap());
            clients.spawn(client(number, store, Arc::clone(&world), Arc::clone(&outcome)));
        }
        if faults.breaks {
            let named = nodes.iter().map(|node| (String::new(), Box::new(node.for_client()) as _));
            let store = Arc::new(QuorumStore::with_clock(named, world.wall_clock(0)).unwrap());
            clients.spawn(breaker(manager(&store), Arc::clone(&world), Arc::clone(&outcome)));
        }
        let end = Instant::now() + faults.war;
        while Instant::now() < end {
            sleep(Duration::from_millis(world.draw(|random| random.u64(5..200)))).await;
            let one = world.draw(|random| random.usize(0..nodes.len()));
            let struck = if faults.all_at_once { &nodes[..] } else { &nodes[one..=one] };
            struck.iter().for_each(Node::crash);
            sleep(Duration::from_millis(world.draw(|random| random.u64(1..200)))).await;
            world.step_clocks_back();
            struck.iter().for_each(Node::restart);
            if faults.loses_data {
                // At most a minority loses its data within a ttl.
                sleep(TTL * 2).await;
            }
        }
        world.at_peace.store(true, Ordering::Relaxed);
        clients.join_all().await;
        let mut outcome = std::mem::take(&mut *outcome.lock().unwrap());
        outcome.grants.sort_by_key(|grant| grant.from);
        outcome.heals = world.heals.load(Ordering::Relaxed);
        outcome.healed_past_a_break = world.healed_past_a_break.load(Ordering::Relaxed);
        outcome
    })
}

fn manager(store: &Arc<QuorumStore>) -> LockManager {
    LockManager::builder().store(Arc::clone(store)).ttl(TTL).build().unwrap()
}

/// Breaks the lock of whichever holder it sees, until the faults stop.
async fn breaker(locks: LockManager, world: Arc<World>, outcome: Arc<Mutex<Outcome>>) {
    while !world.at_peace.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(world.draw(|random| random.u64(5..400)))).await;
        let Ok(Some(seen)) = locks.inspect("k").await else { continue };
        // Nobody can be broken where the nodes are divided.
        let Some(holder) = seen.id() else { continue };
        let asked = world.elapsed();
        let at = {
            let mut outcome = outcome.lock().unwrap();
            outcome.breaks.push(Break { holder, asked, done: None });
            outcome.breaks.len() - 1
        };
        if locks.break_lock(&seen).await.is_ok() {
            outcome.lock().unwrap().breaks[at].done = Some(world.elapsed());
        }
    }
}

/// Takes the lock again and again until the faults stop, then once more.
async fn client(client: u64, store: Arc<QuorumStore>, world: Arc<World>, outcome: Arc<Mutex<Outcome>>) {
    let locks = manager(&store);
    while !world.at_peace.load(Ordering::Relaxed) {
        let lock = || locks.lock("k").ttl(TTL).fenced();
        let patience = Duration::from_millis(world.draw(|random| random.u64(1..600)));
        let asked = world.elapsed();
        // A caller that may give up at any time.
        let Ok(Ok(guard)) = timeout(patience, lock().wait(TTL * 4).acquire()).await else { continue };
        let (from, fence) = (world.elapsed(), guard.fencing_token().unwrap().value());
        let hold = world.draw(|random| world.faults.longest_hold.mul_f64(random.f64()));
        let lost = timeout(hold, guard.lost()).await.ok();
        let (to, holders) = (world.elapsed(), world.grantees(fence));
        let is_broken = |outcome: &Outcome| {
            outcome.breaks.iter().any(|one| holders.contains(&one.holder) && one.done.is_some())
        };
        if lost.is_none() && is_broken(&outcome.lock().unwrap()) && guard.renew().await.is_ok() {
            outcome.lock().unwrap().renewed_past_a_break += 1;
        }
        outcome.lock().unwrap().grants.push(Grant { client, holders, fence, asked, from, to, lost });
        if world.draw(fastrand::Rng::bool) {
            let _ = timeout(patience, guard.release()).await;
        } else {
            drop(guard);
        }
    }
    // By then all messages have arrived, and every lease of a client that gave up has ended.
    sleep(LONGEST_DELAY * 2 + PATIENCE + TTL).await;
    match locks.lock("k").fenced().wait(Duration::from_secs(5)).acquire().await {
        Ok(guard) => drop(guard.release().await),
        Err(error) => {
            outcome.lock().unwrap().stuck += 1;
            eprintln!("{error}");
        }
    }
}

const FAULTS: Faults = Faults {
    lost: 30,
    slow: 60,
    doubled: 30,
    all_at_once: false,
    loses_data: false,
    restart_delay: true,
    step_back: Duration::ZERO,
    breaks: false,
    longest_hold: Duration::from_millis(400),
    war: Duration::from_millis(400),
};

/// Returns the seed in `DISTLOCK_SEED`, or `number` times `DISTLOCK_TIMES` seeds.
fn seeds(number: u64) -> impl Iterator<Item = u64> {
    let given = |name| std::env::var(name).ok().map(|number| number.parse::<u64>().expect("a number"));
    match given("DISTLOCK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number * given("DISTLOCK_TIMES").unwrap_or(1),
    }
}

/// Runs schedules on two threads, and calls `check` with each seed and outcome.
fn run_all(number: u64, faults: Faults, check: impl Fn(u64, &Outcome) + Sync) {
    let seeds: Vec<_> = seeds(number).collect();
    let (grants, heals) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        for half in seeds.chunks(seeds.len().div_ceil(2)) {
            let (grants, heals, check) = (&grants, &heals, &check);
            scope.spawn(move || {
                for seed in half {
                    let outcome = run(*seed, faults);
                    grants.fetch_add(outcome.grants.len(), Ordering::Relaxed);
                    heals.fetch_add(outcome.heals, Ordering::Relaxed);
                    check(*seed, &outcome);
                }
            });
        }
    });
    println!("{} schedules, {grants:?} grants, {heals:?} heals, in {:.1?}", seeds.len(), start.elapsed());
}

/// Checks that nothing went wrong.
fn no_harm(seed: u64, outcome: &Outcome) {
    let overlaps = outcome.overlaps();
    let breaks = &outcome.breaks;
    assert!(
        overlaps.is_empty(),
        "two holders at a time with DISTLOCK_SEED={seed}: {overlaps:#?} {breaks:#?}"
    );
    let stale = outcome.stale();
    assert!(stale.is_empty(), "a token that does not rise with DISTLOCK_SEED={seed}: {stale:#?}");
    let healed = outcome.healed_past_a_break;
    assert_eq!(healed, 0, "a node healed an owner that it was told to break with DISTLOCK_SEED={seed}");
    assert_eq!(outcome.stuck, 0, "no progress after the faults with DISTLOCK_SEED={seed}");
}

/// Checks that some schedule does harm: schedules that cannot find a fault prove nothing.
fn harm(number: u64, faults: Faults, is_harmed: impl Fn(&Outcome) -> bool + Sync) {
    let harmed = AtomicUsize::new(0);
    run_all(number, faults, |_, outcome| {
        harmed.fetch_add(usize::from(is_harmed(outcome)), Ordering::Relaxed);
    });
    println!("{harmed:?} of them did harm");
    assert!(harmed.into_inner() > 0, "no schedule did harm");
}

#[test]
fn nodes_that_keep_their_data_grant_to_one_holder_at_a_time_with_rising_tokens() {
    run_all(500, FAULTS, no_harm);
}

#[test]
fn a_node_that_loses_its_data_does_no_harm_if_it_stays_out_for_a_ttl() {
    run_all(400, Faults { loses_data: true, ..FAULTS }, no_harm);
}

#[test]
fn nodes_that_lose_their_data_all_at_once_do_no_harm_while_clocks_go_on() {
    run_all(200, Faults { loses_data: true, all_at_once: true, ..FAULTS }, no_harm);
}

/// Leases that last through the restarts of several nodes, each of which loses its data.
const LONG: Faults =
    Faults { loses_data: true, longest_hold: Duration::from_secs(4), war: Duration::from_secs(3), ..FAULTS };

#[test]
fn leases_that_are_healed_do_no_harm() {
    let heals = AtomicUsize::new(0);
    run_all(300, LONG, |seed, outcome| {
        no_harm(seed, outcome);
        heals.fetch_add(outcome.heals, Ordering::Relaxed);
    });
    assert!(heals.into_inner() > 0, "no lease was healed");
}

/// Leases that outlast their break, unless the holder learns of it.
const BROKEN: Faults = Faults { loses_data: false, breaks: true, ..LONG };

#[test]
fn a_broken_holder_does_not_come_back_and_overlaps_until_its_next_renewal_only() {
    let (told, heals) = (AtomicUsize::new(0), AtomicUsize::new(0));
    run_all(150, BROKEN, |seed, outcome| {
        no_harm(seed, outcome);
        let outlived = outcome.outlived_breaks();
        assert!(outlived.is_empty(), "a break did not last with DISTLOCK_SEED={seed}: {outlived:#?}");
        assert_eq!(outcome.renewed_past_a_break, 0, "a broken lease was renewed with DISTLOCK_SEED={seed}");
        let broken = outcome.grants.iter().filter(|grant| outcome.breaks_of(grant).next().is_some());
        let learned = broken.filter(|grant| grant.lost == Some(LostReason::NotOwner)).count();
        told.fetch_add(learned, Ordering::Relaxed);
        heals.fetch_add(outcome.heals, Ordering::Relaxed);
    });
    println!("{told:?} holders learned of their break");
    assert!(told.into_inner() > 0 && heals.into_inner() > 0, "nothing was broken, or nothing healed");
}

#[test]
fn breaks_do_no_harm_while_nodes_lose_their_data() {
    run_all(200, Faults { breaks: true, ..LONG }, |seed, outcome| {
        no_harm(seed, outcome);
        let outlived = outcome.outlived_breaks();
        assert!(outlived.is_empty(), "a break did not last with DISTLOCK_SEED={seed}: {outlived:#?}");
        assert_eq!(outcome.renewed_past_a_break, 0, "a broken lease was renewed with DISTLOCK_SEED={seed}");
    });
}

#[test]
fn nodes_that_lose_their_data_and_grant_at_once_break_exclusion() {
    let faults = Faults { loses_data: true, restart_delay: false, all_at_once: true, ..FAULTS };
    harm(200, faults, |outcome| !outcome.overlaps().is_empty());
}

#[test]
fn clocks_that_step_back_while_nodes_lose_their_data_break_the_tokens() {
    let step_back = Duration::from_secs(3);
    let faults = Faults { loses_data: true, all_at_once: true, step_back, ..FAULTS };
    harm(200, faults, |outcome| !outcome.stale().is_empty());
}

#[test]
fn clocks_that_step_back_do_no_harm_while_nodes_keep_their_data() {
    run_all(200, Faults { step_back: Duration::from_secs(3), ..FAULTS }, no_harm);
}
