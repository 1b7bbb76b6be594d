//! Leases in this process's memory, by tokio's clock: they obey a paused one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    contract::{Acquired, Holder, Store, StoreFuture},
    hand_over::{Hint, HintFuture},
};
use crate::{
    clock::WallClock,
    key::Key,
    token::{FencingToken, OwnerToken},
};

/// Keeps leases in memory: the store of [`LockManager::in_memory`](crate::LockManager::in_memory), for tests, examples and programs of one process.
///
/// It keeps the same contract as Redis. A clone shares the leases, so that two managers on clones of one store
/// compete as two processes do. It excludes nobody outside this process.
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    leases: HashMap<Key, Lease>,
    last_fence: u64,
    /// When the map next holds so many keys, those that have lapsed are swept out.
    sweep_at: usize,
    wall_clock: WallClock,
}

struct Lease {
    owner: OwnerToken,
    ends: Instant,
    fence: Option<FencingToken>,
    freed: Arc<Notify>,
}

const FIRST_SWEEP: usize = 1024;

/// Whether an acquire asks for a fencing token.
#[derive(Clone, Copy)]
enum Fenced {
    No,
    Yes,
    Proposed(FencingToken),
}

impl MemoryStore {
    /// A store without leases.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics under this lock, and a poisoned map would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A store with another clock for its fencing tokens, for tests of clocks that are wrong.
    #[doc(hidden)]
    pub fn with_wall_clock(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let state = State { wall_clock: WallClock::of(clock), ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn acquire_now(&self, key: Key, owner: OwnerToken, ttl: Duration, fenced: Fenced) -> Acquired {
        let mut state = self.state();
        let now = Instant::now();
        if let Some(lease) = state.leases.get(&key).filter(|lease| lease.ends > now) {
            return if lease.owner == owner {
                Acquired::Granted { fence: lease.fence }
            } else {
                Acquired::Busy { remaining: Some(lease.ends - now) }
            };
        }
        state.sweep(now);
        let fence = match fenced {
            Fenced::No => None,
            Fenced::Yes => Some(state.next_fence(None)),
            Fenced::Proposed(proposal) => Some(state.next_fence(Some(proposal))),
        };
        let lease = Lease { owner, ends: now + ttl, fence, freed: Arc::default() };
        state.leases.insert(key, lease);
        Acquired::Granted { fence }
    }

    fn renew_now(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> bool {
        let now = Instant::now();
        match self.state().leases.get_mut(key) {
            Some(lease) if lease.owner == *owner && lease.ends > now => {
                lease.ends = now + ttl;
                true
            }
            _ => false,
        }
    }

    fn raise_now(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let lease = state.leases.get_mut(key).filter(|lease| lease.owner == *owner && lease.ends > now);
        // What the key's counter is, as long as its lease is this one.
        let Some(lease) = lease.filter(|lease| lease.fence.is_none_or(|stored| stored <= fence)) else {
            return false;
        };
        lease.fence = Some(fence);
        state.last_fence = state.last_fence.max(fence.value());
        true
    }

    fn release_now(&self, key: &Key, owner: &OwnerToken) -> bool {
        let mut state = self.state();
        match state.leases.get(key) {
            Some(lease) if lease.owner == *owner => {}
            _ => return false,
        }
        state.leases.remove(key).is_some_and(|lease| {
            lease.freed.notify_waiters();
            lease.ends > Instant::now()
        })
    }
}

impl State {
    /// One counter serves all keys: what rises over all of them rises for each. The clock's part keeps tokens rising over a
    /// restart of the process, as it does on Redis.
    fn next_fence(&mut self, proposal: Option<FencingToken>) -> FencingToken {
        let fence = FencingToken::next(self.last_fence, self.wall_clock.micros(), proposal);
        self.last_fence = fence.value();
        fence
    }

    /// Leases that lapsed unreleased stay in the map until somebody asks for the key; this bounds how many.
    fn sweep(&mut self, now: Instant) {
        if self.leases.len() >= self.sweep_at.max(FIRST_SWEEP) {
            self.leases.retain(|_, lease| lease.ends > now);
            self.sweep_at = self.leases.len() * 2;
        }
    }
}

impl Store for MemoryStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        let fenced = if fenced { Fenced::Yes } else { Fenced::No };
        Box::pin(async move { Ok(store.acquire_now(key, owner, ttl, fenced)) })
    }

    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        Box::pin(async move { Ok(store.acquire_now(key, owner, ttl, Fenced::Proposed(proposal))) })
    }

    fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        Box::pin(async move { Ok(store.raise_now(&key, &owner, fence)) })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        Box::pin(async move { Ok(store.renew_now(&key, &owner, ttl)) })
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        let (store, key, owner) = (self.clone(), key.clone(), *owner);
        Box::pin(async move { Ok(store.release_now(&key, &owner)) })
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let (store, key) = (self.clone(), key.clone());
        Box::pin(async move {
            let now = Instant::now();
            let state = store.state();
            let lease = state.leases.get(&key).filter(|lease| lease.ends > now);
            Ok(lease.map(|lease| Holder::new(Some(lease.ends - now))))
        })
    }

    fn hint(&self, key: &Key, _owner: &OwnerToken) -> HintFuture {
        // The notification is asked for under the lock, so a release between now and the first poll is not missed.
        let freed = self.state().leases.get(key).map(|lease| Arc::clone(&lease.freed).notified_owned());
        Box::pin(async move {
            if let Some(freed) = freed {
                freed.await;
            }
            Hint::MayBeFree
        })
    }

    fn wait_for_change(&self, key: &Key) -> HintFuture {
        let freed = self.state().leases.get(key).map(|lease| Arc::clone(&lease.freed).notified_owned());
        Box::pin(async move {
            match freed {
                Some(freed) => freed.await,
                None => std::future::pending().await,
            }
            Hint::MayBeFree
        })
    }
}
