//! Heals nodes that have lost a lease which the quorum has kept, because they restarted empty or were down.
//!
//! A lease stays held while a majority confirms its renewals. Without heals, a restart of all nodes one after
//! the other would wear it down to nothing. A node that answers a renewal with "not the owner's" takes the
//! key [again](crate::Store::take_again), under these rules:
//!
//! 1. A heal is sent after a renewal that a majority has confirmed. It lasts for the rest of that renewal's
//!    ttl, and counts for nothing until a later renewal finds it.
//! 2. A heal is an acquire for everything that follows. It is registered as
//!    [unfinished](super::unfinished), so that the release neither overtakes it nor forgets it.
//! 3. A lease that ends is not healed. Its release removes it from the [`HeldLeases`] before it looks for
//!    unfinished acquires. A heal is registered under the same lock, and only if it finds its lease there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    attempt::WaitFor,
    fan_out::{FanOut, Skip},
    node::Nodes,
    node_set::NodeSet,
    tally::Tally,
    unfinished::UnfinishedAttempts,
};
use crate::{
    error::{StoreError, StoreErrorKind},
    events,
    key::Key,
    limits::MAX_TTL,
    seam,
    store::contract::{Acquired, Store},
    token::{FencingToken, OwnerToken},
};

/// The leases that this process holds on the quorum.
pub(super) struct HeldLeases {
    nodes: Nodes,
    unfinished: Arc<UnfinishedAttempts>,
    by_owner: Mutex<ByOwner>,
}

#[derive(Default)]
struct ByOwner {
    /// A grant inserts its lease, and the release removes it. Leases that are not released are swept when
    /// they have lapsed.
    leases: HashMap<OwnerToken, HeldLease>,
    /// The number of leases at which the next sweep happens. Set by each sweep.
    sweep_at: usize,
}

struct HeldLease {
    fence: Option<FencingToken>,
    ttl: Duration,
    /// When the ttl of the latest command is over that a majority has confirmed.
    ends: Instant,
}

const FIRST_SWEEP_AT: usize = 1024;

/// A heal that would last less than this is not worth sending.
const LEAST_REST: Duration = Duration::from_millis(5);

impl HeldLeases {
    pub(super) fn new(nodes: Nodes, unfinished: Arc<UnfinishedAttempts>) -> Self {
        Self { nodes, unfinished, by_owner: Mutex::default() }
    }

    /// Notes a lease that a majority has granted. The acquire was sent at `sent`.
    pub(super) fn granted(
        &self,
        owner: &OwnerToken,
        fence: Option<FencingToken>,
        sent: Instant,
        ttl: Duration,
    ) {
        let mut by_owner = self.by_owner();
        by_owner.sweep(sent);
        let ttl = ttl.min(MAX_TTL);
        by_owner.leases.insert(*owner, HeldLease { fence, ttl, ends: sent + ttl });
    }

    /// Notes that a lease is about to be released, or shortened for its end.
    pub(super) fn ends(&self, owner: &OwnerToken) {
        self.by_owner().leases.remove(owner);
    }

    /// Notes that a lease is about to be renewed. A renewal that shortens it is its end.
    pub(super) fn renewal_begins(&self, owner: &OwnerToken, ttl: Duration) {
        let by_owner = &mut self.by_owner().leases;
        if by_owner.get(owner).is_some_and(|lease| ttl < lease.ttl) {
            by_owner.remove(owner);
        }
    }

    /// Notes that a majority has confirmed a renewal that was sent at `sent`.
    pub(super) fn renewed(&self, owner: &OwnerToken, sent: Instant) {
        if let Some(lease) = self.by_owner().leases.get_mut(owner) {
            lease.ends = lease.ends.max(sent + lease.ttl);
        }
    }

    /// Has the nodes take the key again, in the background.
    pub(super) fn heal(self: &Arc<Self>, key: &Key, owner: &OwnerToken, lost: NodeSet) {
        let lost: NodeSet = lost.iter().filter(|node| !self.nodes[*node].is_down()).collect();
        if lost.is_empty() {
            return;
        }
        let (leases, key, owner) = (Arc::clone(self), key.clone(), *owner);
        seam::spawn_here(async move { leases.take_again(&key, &owner, lost).await });
    }

    async fn take_again(&self, key: &Key, owner: &OwnerToken, lost: NodeSet) {
        let (rest, fence, mut late) = {
            let by_owner = self.by_owner();
            let Some(HeldLease { fence, ends, .. }) = by_owner.leases.get(owner) else { return };
            let rest = ends.saturating_duration_since(Instant::now());
            if rest < LEAST_REST {
                return;
            }
            let Some(late) = self.unfinished.heal_begins(key, owner, lost) else { return };
            (rest, *fence, late)
        };
        // From the registration to the first poll, which sends the heals, this task does not wait.
        let others = NodeSet::ALL.minus(late.pending());
        let mut tally = Tally::new(self.nodes.len());
        let mut fan_out = {
            let (key, owner) = (key.clone(), *owner);
            let take_again = move |store: &dyn Store| store.take_again(&key, &owner, rest, fence);
            FanOut::start(&self.nodes, others, Skip::Overdue, &WaitFor::Nothing, &mut tally, take_again)
        };
        for node in tally.failed().iter() {
            // It went down, or is overdue, so that nothing is sent to it.
            late.acquire_ended(node, &Err(StoreError::new(StoreErrorKind::Unavailable, "skipped")));
        }
        while let Some((node, answer)) = fan_out.next_answer().await {
            match &answer {
                Ok(true) => events::lease_healed(key, &self.nodes[node].name),
                Ok(false) => {}
                Err(error) => events::lease_not_healed(key, &self.nodes[node].name, error),
            }
            let acquired = |taken| if taken { Acquired::granted(None) } else { Acquired::busy(None) };
            late.acquire_ended(node, &answer.map(acquired));
        }
    }

    fn by_owner(&self) -> MutexGuard<'_, ByOwner> {
        self.by_owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ByOwner {
    /// Removes the leases that have lapsed, whenever their number may have doubled since the last sweep.
    fn sweep(&mut self, now: Instant) {
        if self.leases.len() >= self.sweep_at.max(FIRST_SWEEP_AT) {
            self.leases.retain(|_, lease| lease.ends > now);
            self.sweep_at = self.leases.len() * 2;
        }
    }
}
