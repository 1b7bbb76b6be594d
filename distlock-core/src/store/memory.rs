//! Leases in this process's memory. They follow tokio's clock, so a test may pause it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::Instant,
};

use super::{
    contract::{Acquired, Store, StoreFuture},
    hand_over::{Hint, HintFuture},
    listing::HolderPages,
};
use crate::{
    clock::WallClock,
    holder::{Holder, HolderId},
    key::Key,
    token::{FencingToken, OwnerToken},
};

/// Keeps leases in memory: the store of [`LockManager::in_memory`](crate::LockManager::in_memory), for tests,
/// examples and programs of one process.
///
/// It keeps the same contract as Redis. A clone shares the leases, so two managers on clones of one store
/// compete as two processes do. It excludes nobody outside this process, and its leases end with the process.
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// use distlock::{LockManager, MemoryStore};
///
/// # async fn example() -> Result<(), distlock::LockError> {
/// // Two processes on one server, as a test would have them.
/// let store = MemoryStore::new();
/// let one = LockManager::builder().store(store.clone()).build()?;
/// let other = LockManager::builder().store(store).build()?;
/// let held = one.lock("order:42").acquire().await?;
/// assert!(other.lock("order:42").try_acquire().await?.is_none());
/// held.release().await?;
/// assert!(other.lock("order:42").try_acquire().await?.is_some());
/// # Ok(()) }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(example()).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Released leases are removed at once, lapsed ones by the next acquire of their key or by a sweep.
    leases: HashMap<Key, Lease>,
    /// The value of the highest fencing token granted or raised. One counter serves all keys: a number that
    /// rises over all of them rises for each.
    last_fence: u64,
    /// Set by each break of a key. Entries that are over are removed by a sweep.
    broken: HashMap<Key, Broken>,
    /// The number of leases at which the next sweep happens. Set by each sweep.
    sweep_at: usize,
    wall_clock: WallClock,
}

struct Lease {
    owner: OwnerToken,
    ends: Instant,
    /// The fencing token, if the acquire asked for one. It is the key's fencing counter for as long as the
    /// lease lasts.
    fence: Option<FencingToken>,
    /// Notified by the release.
    freed: Arc<Notify>,
}

impl Lease {
    fn holder(&self, key: &Key, now: Instant) -> Holder {
        // Each hint that is waited for has a reference, beside the lease's own.
        let waiters = Arc::strong_count(&self.freed).saturating_sub(1);
        let waiters = u64::try_from(waiters).ok();
        Holder::new(key.name(), &self.owner).with_remaining(Some(self.ends - now)).with_waiters(waiters)
    }
}

/// The owners that were broken on one key, so that none of them takes it again.
struct Broken {
    owners: Vec<HolderId>,
    /// Until when they are kept. Raised by each break.
    until: Instant,
}

/// Whether an acquire wants a fencing token.
#[derive(Clone, Copy)]
enum Fenced {
    No,
    Yes,
    /// As a node of a quorum, which proposes this one.
    Proposed(FencingToken),
}

const FIRST_SWEEP_AT: usize = 1024;

/// How long a broken owner cannot take its key again at the least.
const BROKEN_FOR: Duration = Duration::from_secs(60);

/// How many holders a page of a list has at the most.
const PAGE: usize = 256;

impl MemoryStore {
    /// Makes a store without leases.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a store with another clock for its fencing tokens, for tests of clocks that are wrong.
    #[doc(hidden)]
    pub fn with_wall_clock(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let state = State { wall_clock: WallClock::of(clock), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The keys that are held, in no order, with what is left of their leases.
    #[cfg(feature = "testing")]
    pub(crate) fn held_keys(&self) -> Vec<(Key, Duration)> {
        let now = Instant::now();
        let state = self.state();
        let held = state.leases.iter().filter(|(_, lease)| lease.ends > now);
        held.map(|(key, lease)| (key.clone(), lease.ends - now)).collect()
    }

    /// Ends when the key's current lease is released; `None` if the key has no lease.
    ///
    /// It is made under the lock, so that a release between now and the first poll is not missed.
    fn freed(&self, key: &Key) -> Option<OwnedNotified> {
        self.state().leases.get(key).map(|lease| Arc::clone(&lease.freed).notified_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics under this lock, and the map would be whole even if something did.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn acquire(&mut self, key: Key, owner: OwnerToken, ttl: Duration, fenced: Fenced) -> Acquired {
        let now = Instant::now();
        if let Some(lease) = self.lease(&key, now) {
            return if lease.owner == owner {
                Acquired::granted(lease.fence)
            } else {
                Acquired::busy(Some(lease.ends - now)).held_by(lease.holder(&key, now))
            };
        }
        self.sweep(now);
        let fence = match fenced {
            Fenced::No => None,
            Fenced::Yes => Some(self.draw_fence(None)),
            Fenced::Proposed(proposal) => Some(self.draw_fence(Some(proposal))),
        };
        self.leases.insert(key, Lease { owner, ends: now + ttl, fence, freed: Arc::default() });
        Acquired::granted(fence)
    }

    fn renew(&mut self, key: &Key, owner: &OwnerToken, ttl: Duration) -> bool {
        let now = Instant::now();
        if self.is_broken(key, || HolderId::from(owner), now) {
            return false;
        }
        let Some(lease) = self.lease_of(key, owner, now) else { return false };
        lease.ends = now + ttl;
        true
    }

    fn release(&mut self, key: &Key, owner: &OwnerToken) -> bool {
        if self.leases.get(key).is_none_or(|lease| lease.owner != *owner) {
            return false;
        }
        self.leases.remove(key).is_some_and(|lease| {
            lease.freed.notify_waiters();
            lease.ends > Instant::now()
        })
    }

    fn raise_fence(&mut self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> bool {
        let lease = self.lease_of(key, owner, Instant::now());
        let Some(lease) = lease.filter(|lease| lease.fence.is_none_or(|stored| stored <= fence)) else {
            return false;
        };
        lease.fence = Some(fence);
        self.last_fence = self.last_fence.max(fence.value());
        true
    }

    fn take_again(
        &mut self,
        key: Key,
        owner: OwnerToken,
        rest_of_ttl: Duration,
        fence: Option<FencingToken>,
    ) -> bool {
        let now = Instant::now();
        if let Some(lease) = self.lease(&key, now) {
            return lease.owner == owner;
        }
        if self.is_broken(&key, || HolderId::from(&owner), now) {
            return false;
        }
        self.sweep(now);
        self.last_fence = self.last_fence.max(fence.map_or(0, FencingToken::value));
        self.leases.insert(key, Lease { owner, ends: now + rest_of_ttl, fence, freed: Arc::default() });
        true
    }

    fn inspect(&mut self, key: &Key) -> Option<Holder> {
        let now = Instant::now();
        self.lease(key, now).map(|lease| lease.holder(key, now))
    }

    fn break_lock(&mut self, key: Key, holder: HolderId) -> bool {
        let now = Instant::now();
        let lease = self.leases.get(&key).filter(|lease| HolderId::from(&lease.owner) == holder);
        let ends = lease.map(|lease| lease.ends).filter(|ends| *ends > now);
        if let Some(lease) = lease {
            lease.freed.notify_waiters();
            self.leases.remove(&key);
        }
        self.broken.retain(|_, broken| broken.until > now);
        let broken = self.broken.entry(key).or_insert_with(|| Broken { owners: Vec::new(), until: now });
        if !broken.owners.contains(&holder) {
            broken.owners.push(holder);
        }
        broken.until = broken.until.max(now + BROKEN_FOR).max(ends.unwrap_or(now));
        ends.is_some()
    }

    /// Whether the holder was broken a short time ago.
    fn is_broken(&self, key: &Key, holder: impl FnOnce() -> HolderId, now: Instant) -> bool {
        let broken = if self.broken.is_empty() { None } else { self.broken.get(key) };
        broken.is_some_and(|broken| broken.until > now && broken.owners.contains(&holder()))
    }

    /// The holders of those of these keys that are held.
    fn list(&self, keys: &[Key]) -> Vec<Holder> {
        let now = Instant::now();
        let lease = |key| self.leases.get(key).filter(|lease| lease.ends > now);
        keys.iter().filter_map(|key| Some(lease(key)?.holder(key, now))).collect()
    }

    /// The key's lease, unless it has lapsed.
    fn lease(&mut self, key: &Key, now: Instant) -> Option<&mut Lease> {
        self.leases.get_mut(key).filter(|lease| lease.ends > now)
    }

    /// The key's lease, unless it has lapsed or is another owner's.
    fn lease_of(&mut self, key: &Key, owner: &OwnerToken, now: Instant) -> Option<&mut Lease> {
        self.lease(key, now).filter(|lease| lease.owner == *owner)
    }

    /// Draws the token of a grant. The clock keeps tokens rising over a restart of the process, as it does on
    /// Redis.
    fn draw_fence(&mut self, proposal: Option<FencingToken>) -> FencingToken {
        let fence = FencingToken::draw(self.last_fence, self.wall_clock.micros(), proposal);
        self.last_fence = fence.value();
        fence
    }

    /// Removes the leases that have lapsed, whenever their number may have doubled since the last sweep.
    fn sweep(&mut self, now: Instant) {
        if self.leases.len() >= self.sweep_at.max(FIRST_SWEEP_AT) {
            self.leases.retain(|_, lease| lease.ends > now);
            self.sweep_at = self.leases.len() * 2;
        }
    }
}

impl Store for MemoryStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        let fenced = if fenced { Fenced::Yes } else { Fenced::No };
        Box::pin(async move { Ok(store.state().acquire(key, owner, ttl, fenced)) })
    }

    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        Box::pin(async move { Ok(store.state().acquire(key, owner, ttl, Fenced::Proposed(proposal))) })
    }

    fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        Box::pin(async move { Ok(store.state().raise_fence(&key, &owner, fence)) })
    }

    fn take_again(
        &self,
        key: &Key,
        owner: &OwnerToken,
        rest_of_ttl: Duration,
        fence: Option<FencingToken>,
    ) -> StoreFuture<bool> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        Box::pin(async move { Ok(store.state().take_again(key, owner, rest_of_ttl, fence)) })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        Box::pin(async move { Ok(store.state().renew(&key, &owner, ttl)) })
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        Box::pin(async move { Ok(store.state().release(&key, &owner)) })
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let (store, key) = (self.clone(), key.clone());
        Box::pin(async move { Ok(store.state().inspect(&key)) })
    }

    fn list(&self, namespace: &str, prefix: &str) -> HolderPages {
        let first = Key::stored(namespace, prefix).as_str().to_owned();
        let (store, namespace) = (self.clone(), namespace.to_owned());
        // The keys are copied at the first page: they are in this memory anyway.
        HolderPages::new(None, move |keys: Option<Vec<Key>>| {
            let (store, first, namespace) = (store.clone(), first.clone(), namespace.clone());
            Box::pin(async move {
                let state = store.state();
                let mut keys = keys.unwrap_or_else(|| {
                    let is_listed = |key: &&Key| key.as_str().starts_with(&first);
                    let texts = state.leases.keys().filter(is_listed);
                    texts.filter_map(|key| Key::found(&namespace, key.as_str())).collect()
                });
                if keys.is_empty() {
                    return Ok(None);
                }
                let rest = keys.split_off(keys.len().min(PAGE));
                Ok(Some((state.list(&keys), Some(rest))))
            })
        })
    }

    fn break_lock(&self, key: &Key, holder: HolderId) -> StoreFuture<bool> {
        let (store, key) = (self.clone(), key.clone());
        Box::pin(async move { Ok(store.state().break_lock(key, holder)) })
    }

    fn hint(&self, key: &Key, _owner: &OwnerToken) -> HintFuture {
        let freed = self.freed(key);
        Box::pin(async move {
            if let Some(freed) = freed {
                freed.await;
            }
            Hint::MayBeFree
        })
    }

    fn wait_for_change(&self, key: &Key) -> HintFuture {
        let freed = self.freed(key);
        Box::pin(async move {
            match freed {
                Some(freed) => freed.await,
                None => std::future::pending().await,
            }
            Hint::MayBeFree
        })
    }
}
