//! The quorum's own code over simulated nodes: thousands of schedules, each from a seed.
//!
//! ```sh
//! DISTLOCK_SEED=7 cargo test --test quorum_simulated               # one schedule of each kind, as a failure's message names it
//! DISTLOCK_TIMES=40 cargo test --release --test quorum_simulated   # 40 times as many
//! ```

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::{LockManager, QuorumStore};
use network::{Faults, LONGEST_DELAY, Node, PATIENCE, TTL, World};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

mod network;

const CLIENTS: u64 = 3;
const WAR: Duration = Duration::from_millis(400);

/// One grant, in virtual time from the beginning.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "for the message of a failure")]
struct Grant {
    client: u64,
    fence: u64,
    asked: Duration,
    from: Duration,
    to: Duration,
}

/// What a schedule came to.
#[derive(Debug, Default)]
struct Outcome {
    grants: Vec<Grant>,
    /// Clients that did not get the key in peace.
    stuck: usize,
}

impl Outcome {
    /// Times at which two clients believed in their leases.
    fn overlaps(&self) -> Vec<&[Grant]> {
        self.grants.windows(2).filter(|pair| pair[1].from < pair[0].to).collect()
    }

    /// Grants whose token is not above that of the one before.
    fn stale(&self) -> Vec<&[Grant]> {
        self.grants.windows(2).filter(|pair| pair[1].fence <= pair[0].fence).collect()
    }
}

/// Plays one schedule, by its seed with three nodes or five.
fn play(seed: u64, faults: Faults) -> Outcome {
    // The library's own jitter.
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
            let store = QuorumStore::with_clock(named, world.wall_clock(off)).unwrap();
            let manager = LockManager::builder().store(store).ttl(TTL).build().unwrap();
            clients.spawn(client(number, manager, Arc::clone(&world), Arc::clone(&outcome)));
        }
        let end = Instant::now() + WAR;
        while Instant::now() < end {
            sleep(Duration::from_millis(world.draw(|random| random.u64(5..200)))).await;
            let one = world.draw(|random| random.usize(0..nodes.len()));
            let struck = if faults.all_at_once { &nodes[..] } else { &nodes[one..=one] };
            struck.iter().for_each(Node::crash);
            sleep(Duration::from_millis(world.draw(|random| random.u64(1..200)))).await;
            world.step_clocks_back();
            struck.iter().for_each(Node::restart);
            if faults.amnesia {
                // Never more than a minority within a ttl.
                sleep(TTL * 2).await;
            }
        }
        world.at_peace.store(true, Ordering::Relaxed);
        clients.join_all().await;
        let mut outcome = std::mem::take(&mut *outcome.lock().unwrap());
        outcome.grants.sort_by_key(|grant| grant.from);
        outcome
    })
}

/// Takes the lock again and again, until there is peace; then once more.
async fn client(client: u64, locks: LockManager, world: Arc<World>, outcome: Arc<Mutex<Outcome>>) {
    let lock = || locks.lock("k").ttl(TTL).fenced();
    while !world.at_peace.load(Ordering::Relaxed) {
        let patience = Duration::from_millis(world.draw(|random| random.u64(1..600)));
        let asked = world.elapsed();
        // A caller that gives up wherever it is.
        let Ok(Ok(guard)) = timeout(patience, lock().wait(TTL * 4).acquire()).await else { continue };
        let (from, fence) = (world.elapsed(), guard.fencing_token().unwrap().value());
        let hold = Duration::from_micros(world.draw(|random| random.u64(0..400_000)));
        let _ = timeout(hold, guard.lost()).await;
        outcome.lock().unwrap().grants.push(Grant { client, fence, asked, from, to: world.elapsed() });
        if world.draw(fastrand::Rng::bool) {
            let _ = timeout(patience, guard.release()).await;
        } else {
            drop(guard);
        }
    }
    // What was under way has arrived by then, and every lease of a client that gave up has ended.
    sleep(LONGEST_DELAY * 2 + PATIENCE + TTL).await;
    match lock().wait(Duration::from_secs(5)).acquire().await {
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
    amnesia: false,
    restart_delay: true,
    step_back: Duration::ZERO,
};

/// The seeds to play: from `DISTLOCK_SEED` one, else so many, times `DISTLOCK_TIMES`.
fn seeds(number: u64) -> impl Iterator<Item = u64> {
    let given = |name| std::env::var(name).ok().map(|number| number.parse::<u64>().expect("a number"));
    match given("DISTLOCK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number * given("DISTLOCK_TIMES").unwrap_or(1),
    }
}

/// Plays schedules on two threads, and shows each outcome with its seed.
fn play_all(number: u64, faults: Faults, show: impl Fn(u64, &Outcome) + Sync) {
    let seeds: Vec<_> = seeds(number).collect();
    let grants = AtomicUsize::new(0);
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        for half in seeds.chunks(seeds.len().div_ceil(2)) {
            let (grants, show) = (&grants, &show);
            scope.spawn(move || {
                for seed in half {
                    let outcome = play(*seed, faults);
                    grants.fetch_add(outcome.grants.len(), Ordering::Relaxed);
                    show(*seed, &outcome);
                }
            });
        }
    });
    println!("{} schedules, {grants:?} grants, in {:.1?}", seeds.len(), start.elapsed());
}

fn no_harm(seed: u64, outcome: &Outcome) {
    let overlaps = outcome.overlaps();
    assert!(overlaps.is_empty(), "two holders at a time with DISTLOCK_SEED={seed}: {overlaps:#?}");
    let stale = outcome.stale();
    assert!(stale.is_empty(), "a token that does not rise with DISTLOCK_SEED={seed}: {stale:#?}");
    assert_eq!(outcome.stuck, 0, "no progress in peace with DISTLOCK_SEED={seed}");
}

/// What some schedule must show, or else the others show nothing.
fn harm(number: u64, faults: Faults, is_harmed: impl Fn(&Outcome) -> bool + Sync) {
    let harmed = AtomicUsize::new(0);
    play_all(number, faults, |_, outcome| {
        harmed.fetch_add(usize::from(is_harmed(outcome)), Ordering::Relaxed);
    });
    println!("harm in {harmed:?} of them");
    assert!(harmed.into_inner() > 0, "the schedules find nothing");
}

#[test]
fn one_holder_at_a_time_with_rising_tokens_while_nodes_keep_their_data() {
    play_all(500, FAULTS, no_harm);
}

#[test]
fn a_node_that_forgets_everything_does_no_harm_if_it_stays_out_for_a_ttl() {
    play_all(400, Faults { amnesia: true, ..FAULTS }, no_harm);
}

#[test]
fn nodes_that_all_forget_everything_at_once_do_no_harm_while_clocks_go_on() {
    play_all(200, Faults { amnesia: true, all_at_once: true, ..FAULTS }, no_harm);
}

#[test]
fn nodes_that_forget_everything_and_grant_at_once_break_exclusion() {
    let faults = Faults { amnesia: true, restart_delay: false, all_at_once: true, ..FAULTS };
    harm(200, faults, |outcome| !outcome.overlaps().is_empty());
}

#[test]
fn clocks_that_step_back_while_nodes_forget_everything_break_the_tokens() {
    let step_back = Duration::from_secs(3);
    let faults = Faults { amnesia: true, all_at_once: true, step_back, ..FAULTS };
    harm(200, faults, |outcome| !outcome.stale().is_empty());
}

#[test]
fn clocks_that_step_back_do_no_harm_while_nodes_keep_their_data() {
    play_all(200, Faults { step_back: Duration::from_secs(3), ..FAULTS }, no_harm);
}
