//! Nodes of a quorum behind a network that loses, delays, doubles and reorders messages, in virtual time and
//! from a seed.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::{
    Acquired, FencingToken, HintFuture, Holder, HolderId, Key, MemoryStore, OwnerToken, Store, StoreError,
    StoreErrorKind, StoreFuture,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout},
};

/// How long a client waits for the answer of a node.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);
/// How long the network keeps a message at most.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_millis(300);
pub(crate) const TTL: Duration = Duration::from_millis(250);

/// The faults of a schedule.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault that happens or does not")]
pub(crate) struct Faults {
    /// How many of a thousand messages are lost, in each direction.
    pub(crate) lost: u32,
    /// How many of a thousand messages are slow, in each direction.
    pub(crate) slow: u32,
    /// How many of a thousand requests arrive twice.
    pub(crate) doubled: u32,
    /// Whether all nodes go down and come back together.
    pub(crate) all_at_once: bool,
    /// Whether a node that restarts has lost its data.
    pub(crate) loses_data: bool,
    /// Whether a node that has lost its data grants nothing for a ttl.
    pub(crate) restart_delay: bool,
    /// How far all clocks step back when a node restarts.
    pub(crate) step_back: Duration,
    /// Whether a third party breaks the lock of whichever holder it sees.
    pub(crate) breaks: bool,
    /// How long a client holds the lock at most.
    pub(crate) longest_hold: Duration,
    /// For how long faults happen.
    pub(crate) war: Duration,
}

/// The network and the clocks of one schedule.
pub(crate) struct World {
    pub(crate) random: Mutex<fastrand::Rng>,
    start: Instant,
    pub(crate) faults: Faults,
    /// Whether the messages of one client to one node arrive in their order, except slow ones.
    in_order: bool,
    /// Whether the faults have stopped. Set by `run`.
    pub(crate) at_peace: AtomicBool,
    /// How many times a node has taken a lease again. Set by `take_again`.
    pub(crate) heals: AtomicUsize,
    /// How many times it did so for an owner that it was told to break. Set by `take_again`.
    pub(crate) healed_past_a_break: AtomicUsize,
    /// The holders that were granted each fencing token by some node. Set by `acquire_proposed`.
    grantees: Mutex<HashMap<u64, HashSet<HolderId>>>,
    /// How far all clocks have stepped, in microseconds. Set by `step_clocks_back`.
    step: AtomicI64,
}

impl World {
    /// Creates the world of a seed, which decides whether connections keep the order of messages.
    pub(crate) fn new(seed: u64, faults: Faults) -> Arc<Self> {
        Arc::new(Self {
            in_order: seed % 4 > 1,
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            start: Instant::now(),
            faults,
            at_peace: AtomicBool::new(false),
            heals: AtomicUsize::new(0),
            healed_past_a_break: AtomicUsize::new(0),
            grantees: Mutex::default(),
            step: AtomicI64::new(0),
        })
    }

    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.random.lock().unwrap())
    }

    /// The holders that some node has granted this fencing token: one, unless a failed attempt had it too.
    pub(crate) fn grantees(&self, fence: u64) -> HashSet<HolderId> {
        self.grantees.lock().unwrap().get(&fence).cloned().unwrap_or_default()
    }

    fn happens(&self, per_thousand: u32) -> bool {
        !self.at_peace.load(Ordering::Relaxed) && self.draw(|random| random.u32(0..1000)) < per_thousand
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns a clock of the time of day that is off by so many microseconds.
    pub(crate) fn wall_clock(self: &Arc<Self>, off: i64) -> impl Fn() -> u64 + Send + Sync + 'static {
        let world = Arc::clone(self);
        move || {
            const EPOCH: i64 = 1_800_000_000_000_000;
            let elapsed = i64::try_from(world.start.elapsed().as_micros()).unwrap();
            u64::try_from(EPOCH + elapsed + off + world.step.load(Ordering::Relaxed)).unwrap()
        }
    }

    pub(crate) fn step_clocks_back(&self) {
        let step = i64::try_from(self.faults.step_back.as_micros()).unwrap();
        self.step.fetch_sub(step, Ordering::Relaxed);
    }

    fn delay(&self) -> Duration {
        if self.happens(self.faults.slow) {
            return self.draw(|random| LONGEST_DELAY.mul_f64(random.f64()));
        }
        Duration::from_micros(self.draw(|random| random.u64(50..3000)))
    }
}

/// A node as one client reaches it. Clones are the same node.
#[derive(Clone)]
pub(crate) struct Node {
    world: Arc<World>,
    server: Arc<Mutex<Server>>,
    /// When the last message of this client arrives. Set by `arrival` for messages that keep their order.
    last: Arc<Mutex<Instant>>,
}

struct Server {
    store: MemoryStore,
    /// The holders that it was told to break. Set by `break_lock`, cleared by `restart` with the data.
    told_to_break: Vec<HolderId>,
    is_up: bool,
    /// The node grants nothing before. Set by `restart`.
    grants_from: Instant,
    /// How far its clock is off, in microseconds.
    off: i64,
    /// The part of a ttl for which its leases last: its clock is fast or slow.
    rate: f64,
}

impl Node {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        let off = world.draw(|random| random.i64(-40_000..40_000));
        let server = Server {
            store: MemoryStore::with_wall_clock(world.wall_clock(off)),
            told_to_break: Vec::new(),
            is_up: true,
            grants_from: Instant::now(),
            off,
            rate: world.draw(|random| 0.99 + 0.02 * random.f64()),
        };
        let last = Arc::new(Mutex::new(Instant::now()));
        Self { world: Arc::clone(world), server: Arc::new(Mutex::new(server)), last }
    }

    /// Returns the same node for another client.
    pub(crate) fn for_client(&self) -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())), ..self.clone() }
    }

    /// Returns when a message arrives that is sent now.
    fn arrival(&self) -> Instant {
        let Self { world, last, .. } = self;
        let overtaken = world.happens(world.faults.slow);
        let arrival = Instant::now() + world.delay();
        if !world.in_order || overtaken {
            return arrival;
        }
        let mut last = last.lock().unwrap();
        *last = arrival.max(*last + Duration::from_nanos(1));
        *last
    }

    /// Stops the node. Messages on their way to it are lost.
    pub(crate) fn crash(&self) {
        self.server.lock().unwrap().is_up = false;
    }

    pub(crate) fn restart(&self) {
        let mut server = self.server.lock().unwrap();
        server.is_up = true;
        if self.world.faults.loses_data {
            server.store = MemoryStore::with_wall_clock(self.world.wall_clock(server.off));
            server.told_to_break.clear();
            if self.world.faults.restart_delay {
                // A ttl by the clock of the node, which may be slow.
                server.grants_from = Instant::now() + TTL.mul_f64(1.02);
            }
        }
    }

    /// Sends a command, which may be one that grants, and waits for its answer.
    fn call<T: Clone + Send + 'static>(
        &self,
        grants: bool,
        command: impl Fn(&MemoryStore, f64) -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let node = self.clone();
        Box::pin(async move {
            let arrival = node.arrival();
            let Self { world, server, .. } = node;
            let (reply, replied) = oneshot::channel();
            // A task of its own: a message arrives even if its sender is dropped.
            tokio::spawn(async move {
                let times = if world.happens(world.faults.doubled) { 2 } else { 1 };
                let mut reply = Some(reply);
                for time in 0..times {
                    if time == 0 {
                        sleep_until(arrival).await;
                    } else {
                        sleep(world.delay()).await;
                    }
                    if world.happens(world.faults.lost) {
                        continue;
                    }
                    let (store, rate) = {
                        let server = server.lock().unwrap();
                        if !server.is_up {
                            return;
                        }
                        if grants && Instant::now() < server.grants_from {
                            let out =
                                StoreError::new(StoreErrorKind::Unavailable, "started a short time ago");
                            let _ = reply.take().map(|reply| reply.send(Err(out)));
                            return;
                        }
                        (server.store.clone(), server.rate)
                    };
                    let answer = command(&store, rate).await;
                    sleep(world.delay()).await;
                    if !world.happens(world.faults.lost) {
                        let _ = reply.take().map(|reply| reply.send(answer));
                    }
                }
            });
            let silence = || StoreError::new(StoreErrorKind::TimedOut, "the node did not answer in time");
            match timeout(PATIENCE, replied).await {
                Ok(Ok(answer)) => answer,
                // The message was lost: the client learns nothing and waits.
                Ok(Err(_)) => {
                    sleep(PATIENCE).await;
                    Err(silence())
                }
                Err(_) => Err(silence()),
            }
        })
    }
}

impl Store for Node {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (key, owner) = (key.clone(), *owner);
        self.call(true, move |store, rate| store.acquire(&key, &owner, ttl.mul_f64(rate), fenced))
    }

    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        let (key, owner) = (key.clone(), *owner);
        let world = Arc::clone(&self.world);
        self.call(true, move |store, rate| {
            let granted = store.acquire_proposed(&key, &owner, ttl.mul_f64(rate), proposal);
            let world = Arc::clone(&world);
            Box::pin(async move {
                let answer = granted.await?;
                if let Acquired::Granted { fence: Some(fence), .. } = answer {
                    let mut grantees = world.grantees.lock().unwrap();
                    grantees.entry(fence.value()).or_default().insert(HolderId::from(&owner));
                }
                Ok(answer)
            })
        })
    }

    fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.call(false, move |store, _| store.raise_fence(&key, &owner, fence))
    }

    fn take_again(
        &self,
        key: &Key,
        owner: &OwnerToken,
        rest_of_ttl: Duration,
        fence: Option<FencingToken>,
    ) -> StoreFuture<bool> {
        let (key, owner, node) = (key.clone(), *owner, self.clone());
        self.call(true, move |store, rate| {
            let (store, key, node) = (store.clone(), key.clone(), node.clone());
            Box::pin(async move {
                let was_free = store.inspect(&key).await?.is_none();
                let taken = store.take_again(&key, &owner, rest_of_ttl.mul_f64(rate), fence).await?;
                let Self { world, server, .. } = node;
                let is_healed = was_free && taken;
                let is_broken = server.lock().unwrap().told_to_break.contains(&HolderId::from(&owner));
                world.heals.fetch_add(usize::from(is_healed), Ordering::Relaxed);
                world.healed_past_a_break.fetch_add(usize::from(is_healed && is_broken), Ordering::Relaxed);
                Ok(taken)
            })
        })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.call(false, move |store, rate| store.renew(&key, &owner, ttl.mul_f64(rate)))
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.call(false, move |store, _| store.release(&key, &owner))
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let key = key.clone();
        self.call(false, move |store, _| store.inspect(&key))
    }

    fn break_lock(&self, key: &Key, holder: HolderId) -> StoreFuture<bool> {
        let (key, server) = (key.clone(), Arc::clone(&self.server));
        self.call(false, move |store, _| {
            server.lock().unwrap().told_to_break.push(holder);
            store.break_lock(&key, holder)
        })
    }

    fn keeps_order(&self) -> bool {
        self.world.in_order
    }

    fn wait_for_change(&self, key: &Key) -> HintFuture {
        self.server.lock().unwrap().store.wait_for_change(key)
    }
}
