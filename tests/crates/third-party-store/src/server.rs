//! What a lock server keeps and does. Each method is one atomic request.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use distlock::{Acquired, FencingToken, HandOver, Holder, HolderId, Key, Moment, OwnerToken};
use tokio::{sync::Notify, time::Instant};

/// How long a lease that is handed over lasts until its owner renews it. A waiter that hangs holds the others
/// up for no longer.
const HANDED_OVER: Duration = Duration::from_secs(2);
/// How long a waiter stays in a wait queue without asking again.
const ENTRY: Duration = Duration::from_secs(3);
/// How long a broken owner does not get its key again at the least.
const BROKEN: Duration = Duration::from_secs(60);
/// How many holders are listed at a time.
const PAGE: usize = 100;

#[derive(Default)]
pub(crate) struct Server {
    leases: HashMap<Key, Lease>,
    /// The waiters of each key, the longest waiting first.
    queues: HashMap<Key, Vec<Waiter>>,
    /// Where waiters wait for news.
    mailboxes: HashMap<OwnerToken, Mailbox>,
    /// One counter serves all keys: what rises over all of them rises for each.
    last_fence: u64,
    /// Until when a broken owner does not get its key again.
    broken: HashMap<(Key, HolderId), Instant>,
}

struct Lease {
    owner: OwnerToken,
    ends: Instant,
    fence: Option<FencingToken>,
    /// Told when the lease is released.
    freed: Arc<Notify>,
}

#[derive(Default)]
struct Mailbox {
    news: Option<HandOver>,
    bell: Arc<Notify>,
}

/// A lease that is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) owner: OwnerToken,
    pub(crate) ttl: Duration,
    pub(crate) fence: Fence,
}

#[derive(Clone, Copy)]
pub(crate) enum Fence {
    None,
    Draw,
    Proposed(FencingToken),
}

/// An entry of a wait queue.
#[derive(Clone, Copy)]
pub(crate) struct Waiter {
    ask: Ask,
    since: Instant,
    /// Set anew by each question of the waiter.
    lapses: Instant,
}

impl Waiter {
    pub(crate) fn new(ask: Ask, since: Instant, now: Instant) -> Self {
        Self { ask, since, lapses: now + ENTRY }
    }
}

impl Server {
    /// The lease, unless it has lapsed.
    fn lease(&mut self, key: &Key, now: Instant) -> Option<&mut Lease> {
        self.leases.get_mut(key).filter(|lease| lease.ends > now)
    }

    fn lease_of(&mut self, key: &Key, owner: OwnerToken, now: Instant) -> Option<&mut Lease> {
        self.lease(key, now).filter(|lease| lease.owner == owner)
    }

    pub(crate) fn holder(&mut self, key: &Key, now: Instant) -> Option<Holder> {
        let waiting = |waiter: &&Waiter| waiter.lapses > now;
        let waiters = self.queues.get(key).map_or(0, |queue| queue.iter().filter(waiting).count());
        let lease = self.lease(key, now)?;
        let holder = Holder::new(key.name(), &lease.owner).with_remaining(Some(lease.ends - now));
        Some(holder.with_waiters(u64::try_from(waiters).ok()))
    }

    /// Told when the key's lease is released; `None` if the key is free.
    pub(crate) fn freed(&mut self, key: &Key, now: Instant) -> Option<Arc<Notify>> {
        self.lease(key, now).map(|lease| Arc::clone(&lease.freed))
    }

    pub(crate) fn acquire(&mut self, key: &Key, ask: Ask, now: Instant) -> Acquired {
        match self.lease(key, now) {
            Some(lease) if lease.owner == ask.owner => Acquired::granted(lease.fence),
            Some(lease) => {
                let holder = Holder::new(key.name(), &lease.owner);
                Acquired::busy(Some(lease.ends - now)).held_by(holder)
            }
            None => Acquired::granted(self.grant(key, ask, ask.ttl, now)),
        }
    }

    fn grant(&mut self, key: &Key, ask: Ask, lasts: Duration, now: Instant) -> Option<FencingToken> {
        let fence = match ask.fence {
            Fence::None => None,
            Fence::Draw => Some(self.draw(None)),
            Fence::Proposed(proposal) => Some(self.draw(Some(proposal))),
        };
        self.keep(key, Lease { owner: ask.owner, ends: now + lasts, fence, freed: Arc::default() }, now);
        fence
    }

    fn keep(&mut self, key: &Key, lease: Lease, now: Instant) {
        if self.leases.len() == self.leases.capacity() {
            // Before the map grows, what has lapsed leaves it.
            self.leases.retain(|_, lease| lease.ends > now);
        }
        self.leases.insert(key.clone(), lease);
    }

    /// A fencing token above all that were drawn before, and at the clock, in microseconds since 1970: so the
    /// tokens rise even if the clock steps back or the counter is lost. A proposal counts within 100 ms of
    /// the clock.
    fn draw(&mut self, proposal: Option<FencingToken>) -> FencingToken {
        const REACH: u64 = 100_000;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let clock = u64::try_from(clock).unwrap_or(u64::MAX);
        let wanted = proposal.map_or(clock, |proposal| proposal.value().clamp(clock - REACH, clock + REACH));
        self.last_fence = wanted.max(self.last_fence + 1);
        FencingToken::new(self.last_fence)
    }

    pub(crate) fn renew(&mut self, key: &Key, owner: OwnerToken, ttl: Duration, now: Instant) -> bool {
        if self.is_broken(key, HolderId::from(&owner), now) {
            return false;
        }
        let lease = self.lease_of(key, owner, now);
        lease.map(|lease| lease.ends = now + ttl).is_some()
    }

    pub(crate) fn raise_fence(
        &mut self,
        key: &Key,
        owner: OwnerToken,
        fence: FencingToken,
        now: Instant,
    ) -> bool {
        // The token of the lease is the key's counter for as long as the lease lasts.
        let lease = self.lease_of(key, owner, now).filter(|lease| lease.fence <= Some(fence));
        let raised = lease.map(|lease| lease.fence = Some(fence)).is_some();
        if raised {
            self.last_fence = self.last_fence.max(fence.value());
        }
        raised
    }

    pub(crate) fn take_again(
        &mut self,
        key: &Key,
        owner: OwnerToken,
        rest_of_ttl: Duration,
        fence: Option<FencingToken>,
        now: Instant,
    ) -> bool {
        if let Some(lease) = self.lease(key, now) {
            return lease.owner == owner;
        }
        if self.is_broken(key, HolderId::from(&owner), now) {
            return false;
        }
        self.last_fence = self.last_fence.max(fence.map_or(0, FencingToken::value));
        self.keep(key, Lease { owner, ends: now + rest_of_ttl, fence, freed: Arc::default() }, now);
        true
    }

    /// The next holders by their names, after one; at most [`PAGE`].
    pub(crate) fn list(&self, namespace: &str, prefix: &str, after: &str, now: Instant) -> Vec<Holder> {
        let space = if namespace.is_empty() { String::new() } else { format!("{namespace}:") };
        let held = self.leases.iter().filter(|(_, lease)| lease.ends > now);
        let mut names: Vec<_> =
            held.filter_map(|(key, lease)| Some((key.as_str().strip_prefix(&*space)?, lease))).collect();
        names.retain(|(name, _)| name.starts_with(prefix) && *name > after);
        names.sort_unstable_by_key(|(name, _)| *name);
        names.truncate(PAGE);
        let holder =
            |lease: &Lease, name| Holder::new(name, &lease.owner).with_remaining(Some(lease.ends - now));
        names.into_iter().map(|(name, lease)| holder(lease, name)).collect()
    }

    pub(crate) fn break_lock(&mut self, key: &Key, holder: HolderId, now: Instant) -> bool {
        let lease = self.lease(key, now).filter(|lease| HolderId::from(&lease.owner) == holder);
        let (owner, ends) = lease.map(|lease| (lease.owner, lease.ends)).unzip();
        // Noted even if it does not hold the key here: it may hold it on the other nodes of a quorum.
        let until = ends.unwrap_or(now).max(now + BROKEN);
        self.broken.retain(|_, until| *until > now);
        self.broken.insert((key.clone(), holder), until);
        if let Some(owner) = owner {
            self.release(key, owner, None, now);
        }
        owner.is_some()
    }

    fn is_broken(&self, key: &Key, holder: HolderId, now: Instant) -> bool {
        self.broken.get(&(key.clone(), holder)).is_some_and(|until| *until > now)
    }

    pub(crate) fn acquire_or_enqueue(&mut self, key: &Key, waiter: Waiter, now: Instant) -> Acquired {
        if self.lease(key, now).is_none() {
            // A key that has lapsed goes to the waiter that has waited longest, like one that is released.
            self.enqueue(key, waiter);
            self.hand_over(key, now);
        }
        let answer = self.acquire(key, waiter.ask, now);
        if matches!(answer, Acquired::Granted { .. }) {
            // The lease may be one that was handed over: from this answer on it lasts for the whole ttl.
            self.renew(key, waiter.ask.owner, waiter.ask.ttl, now);
            self.mailboxes.remove(&waiter.ask.owner);
        } else {
            self.register(waiter.ask.owner);
            self.enqueue(key, waiter);
        }
        answer
    }

    /// Puts a waiter behind those that have waited as long, or lets its entry last longer.
    fn enqueue(&mut self, key: &Key, waiter: Waiter) {
        let queue = self.queues.entry(key.clone()).or_default();
        if let Some(entry) = queue.iter_mut().find(|entry| entry.ask.owner == waiter.ask.owner) {
            entry.lapses = waiter.lapses;
            return;
        }
        let at = queue.partition_point(|entry| entry.since <= waiter.since);
        queue.insert(at, waiter);
    }

    /// Gives the key, which is free, to the waiter that has waited longest, and tells that waiter.
    fn hand_over(&mut self, key: &Key, now: Instant) {
        let Some(queue) = self.queues.get_mut(key) else { return };
        for entry in queue.extract_if(.., |entry| entry.lapses <= now) {
            self.mailboxes.remove(&entry.ask.owner);
        }
        if queue.is_empty() {
            self.queues.remove(key);
            return;
        }
        let next = queue.remove(0);
        if queue.is_empty() {
            self.queues.remove(key);
        }
        // Taken before the lease begins to run: see `HandOver::since`.
        let since = Moment::now();
        let lasts = next.ask.ttl.min(HANDED_OVER);
        let fence = self.grant(key, next.ask, lasts, now);
        let mailbox = self.mailboxes.entry(next.ask.owner).or_default();
        mailbox.news = Some(HandOver::new(since, lasts).with_fence(fence));
        mailbox.bell.notify_one();
    }

    pub(crate) fn release(
        &mut self,
        key: &Key,
        owner: OwnerToken,
        named: Option<Waiter>,
        now: Instant,
    ) -> bool {
        self.mailboxes.remove(&owner);
        if self.lease_of(key, owner, now).is_some() {
            let lease = self.leases.remove(key);
            if let Some(named) = named {
                // It takes its place among the others. Its mailbox was opened when it was registered.
                self.enqueue(key, named);
            }
            self.hand_over(key, now);
            if let Some(lease) = lease {
                lease.freed.notify_waiters();
            }
            return true;
        }
        if let Some(bell) = named.and_then(|named| self.bell(named.ask.owner)) {
            // It counted on this release, so it has to ask by itself.
            bell.notify_one();
        }
        let Some(queue) = self.queues.get_mut(key) else { return false };
        let before = queue.len();
        queue.retain(|entry| entry.ask.owner != owner);
        queue.len() < before
    }

    pub(crate) fn is_queued(&self, owner: OwnerToken) -> bool {
        self.mailboxes.get(&owner).is_some_and(|mailbox| mailbox.news.is_none())
    }

    /// Opens a mailbox for the owner, if it has none.
    pub(crate) fn register(&mut self, owner: OwnerToken) {
        self.mailboxes.entry(owner).or_default();
    }

    /// Rings when there is news for the owner, or when the owner should ask; `None` for an owner without a
    /// mailbox.
    pub(crate) fn bell(&self, owner: OwnerToken) -> Option<Arc<Notify>> {
        self.mailboxes.get(&owner).map(|mailbox| Arc::clone(&mailbox.bell))
    }

    /// Empties the owner's mailbox, which is closed by news.
    pub(crate) fn take_news(&mut self, owner: OwnerToken) -> Option<HandOver> {
        let news = self.mailboxes.get_mut(&owner)?.news.take();
        if news.is_some() {
            self.mailboxes.remove(&owner);
        }
        news
    }
}
