//! Acquires and releases that some nodes have yet to answer when the call returns, and the releases that
//! follow them.
//!
//! A call returns as soon as a majority has decided it. A background task receives the answers of the slower
//! nodes. Until then, the [`Attempt`] is registered here. That upholds five rules:
//!
//! 1. A release does not overtake its own acquire. The late grant would stay until its ttl. The release is
//!    sent to a node once the node has answered the acquire, or at once if all nodes keep order.
//! 2. An acquire is not refused because of a lease that this process is releasing. It is sent to a node once
//!    no answer to the key's earlier attempts is pending there, or at once if all nodes keep order.
//! 3. No grant is forgotten. When a node has ended both the acquire and the release, it may still hold the
//!    key: either of them may have failed, or a replaced connection may have let the release come first. The
//!    release is then sent again.
//! 4. An attempt that is in doubt at a node, or that skipped one, stays registered until its release, which
//!    has to know that. Any other is removed with its last answer. It is registered before the call returns,
//!    so its release finds it.
//! 5. No wait is endless. The background task owns [`LateAnswers`]. They are dropped when the task ends or
//!    its runtime does. Their nodes then count as having answered, and their acquires as in doubt. A runtime
//!    that stands still delays the commands of another one for a bounded time only, as if its answers were
//!    lost. A lease that stays on a node ends with its ttl, and so does the registration of an attempt that
//!    nothing releases.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    attempt::{Attempt, Step, WaitFor},
    node::{Nodes, ReleaseAgain},
    node_set::NodeSet,
};
use crate::{
    error::StoreError, key::Key, limits::MAX_TTL, seam, store::contract::Acquired, token::OwnerToken,
};

/// A quorum's attempts of which an answer is pending, or which their releases have to know about.
pub(super) struct UnfinishedAttempts {
    nodes: Nodes,
    /// Whether all nodes [keep order](crate::Store::keeps_order).
    keep_order: bool,
    /// The longest ttl of all acquires so far, in milliseconds. A lease that is not released has ended by
    /// then.
    longest_ttl_ms: AtomicU64,
    registered: Mutex<Registered>,
}

#[derive(Default)]
struct Registered {
    by_key: HashMap<Key, Vec<Arc<Attempt>>>,
    /// The number of keys at which the next sweep happens. Set by each sweep.
    sweep_at: usize,
}

const FIRST_SWEEP_AT: usize = 1024;

/// The answers to one command that a background task has yet to receive.
pub(super) struct LateAnswers {
    unfinished: Arc<UnfinishedAttempts>,
    attempt: Arc<Attempt>,
    step: Step,
    /// The nodes whose answers are still to come. Each answer clears its own.
    pending: NodeSet,
}

impl UnfinishedAttempts {
    pub(super) fn new(nodes: Nodes) -> Self {
        let keep_order = nodes.iter().all(|node| node.store.keeps_order());
        Self { nodes, keep_order, longest_ttl_ms: AtomicU64::new(0), registered: Mutex::default() }
    }

    /// Notes that an acquire is about to be sent, and answers what it has to wait for.
    pub(super) fn begin_acquire(&self, key: &Key, ttl: Duration) -> WaitFor {
        let ttl_ms = u64::try_from(ttl.min(MAX_TTL).as_millis()).unwrap_or(u64::MAX);
        self.longest_ttl_ms.fetch_max(ttl_ms, Ordering::Relaxed);
        let by_key = &self.registered().by_key;
        let earlier = if by_key.is_empty() { None } else { by_key.get(key) };
        let earlier = earlier.into_iter().flatten().filter(|attempt| !self.is_sent_in_order(attempt));
        WaitFor::AllAnswers(earlier.cloned().collect())
    }

    /// Registers an acquire that was decided, unless each node has answered it for certain.
    pub(super) fn acquire_decided(
        self: &Arc<Self>,
        key: &Key,
        owner: &OwnerToken,
        skipped: NodeSet,
        in_doubt: NodeSet,
        pending: NodeSet,
    ) -> Option<LateAnswers> {
        if skipped.union(in_doubt).union(pending).is_empty() {
            return None;
        }
        let attempt = Attempt::acquired(key, owner, skipped, in_doubt, pending);
        self.register(&attempt);
        Some(LateAnswers { unfinished: Arc::clone(self), attempt, step: Step::Acquire, pending })
    }

    /// Registers the heals that are about to be sent to these nodes, but to none that has an acquire to
    /// answer; `None` if no node is left.
    pub(super) fn heal_begins(
        self: &Arc<Self>,
        key: &Key,
        owner: &OwnerToken,
        nodes: NodeSet,
    ) -> Option<LateAnswers> {
        let (attempt, _) = self.begin_release(key, owner);
        let pending = attempt.heal_begins(nodes);
        if pending.is_empty() {
            return None;
        }
        self.register(&attempt);
        Some(LateAnswers { unfinished: Arc::clone(self), attempt, step: Step::Acquire, pending })
    }

    /// The attempt that a release is about to end, and what the release has to wait for.
    pub(super) fn begin_release(&self, key: &Key, owner: &OwnerToken) -> (Arc<Attempt>, WaitFor) {
        let registered = self.registered();
        let registered =
            registered.by_key.get(key).and_then(|all| all.iter().find(|attempt| attempt.owner == *owner));
        match registered {
            None => (Attempt::new(key, owner), WaitFor::Nothing),
            Some(attempt) if self.is_sent_in_order(attempt) => (Arc::clone(attempt), WaitFor::Nothing),
            Some(attempt) => (Arc::clone(attempt), WaitFor::AcquireAnswer(Arc::clone(attempt))),
        }
    }

    /// Notes a node's answer to an attempt's release.
    pub(super) fn release_ended(&self, attempt: &Attempt, node: usize, answer: &Result<bool, StoreError>) {
        self.release_again(attempt, node, attempt.release_ended(node, answer));
    }

    /// Notes that an attempt's release was decided while these nodes have not answered it.
    pub(super) fn release_decided(self: &Arc<Self>, attempt: Arc<Attempt>, pending: NodeSet) -> LateAnswers {
        attempt.release_decided(pending);
        if !pending.is_empty() {
            self.register(&attempt);
        }
        LateAnswers { unfinished: Arc::clone(self), attempt, step: Step::Release, pending }
    }

    /// Releases the key on a node in the background.
    fn release_again(&self, attempt: &Attempt, node: usize, again: ReleaseAgain) {
        if again == ReleaseAgain::No {
            return;
        }
        let (node, key, owner) = (Arc::clone(&self.nodes[node]), attempt.key.clone(), attempt.owner);
        let until = Instant::now() + self.longest_ttl();
        seam::spawn_here(async move { node.release_again(key, owner, again, until).await });
    }

    /// Whether a command sent now is executed after the attempt's pending ones, without waiting for their
    /// answers.
    fn is_sent_in_order(&self, attempt: &Attempt) -> bool {
        self.keep_order && attempt.is_of_this_runtime()
    }

    fn longest_ttl(&self) -> Duration {
        Duration::from_millis(self.longest_ttl_ms.load(Ordering::Relaxed))
    }

    fn register(&self, attempt: &Arc<Attempt>) {
        let mut registered = self.registered();
        registered.sweep(self.longest_ttl());
        let attempts = registered.by_key.entry(attempt.key.clone()).or_default();
        if !attempts.iter().any(|other| Arc::ptr_eq(other, attempt)) {
            attempts.push(Arc::clone(attempt));
        }
    }

    fn remove_if_finished(&self, attempt: &Arc<Attempt>) {
        if !attempt.is_finished() {
            return;
        }
        let by_key = &mut self.registered().by_key;
        if let Some(attempts) = by_key.get_mut(&attempt.key) {
            attempts.retain(|other| !Arc::ptr_eq(other, attempt));
            if attempts.is_empty() {
                by_key.remove(&attempt.key);
            }
        }
    }

    fn registered(&self) -> MutexGuard<'_, Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// Removes the attempts whose leases have ended since their last command, whenever the number of keys may
    /// have doubled since the last sweep. Without that, the attempts of runtimes that have ended, which
    /// nothing releases, would stay for ever.
    fn sweep(&mut self, longest_ttl: Duration) {
        if self.by_key.len() >= self.sweep_at.max(FIRST_SWEEP_AT) {
            self.by_key.retain(|_, attempts| {
                attempts.retain(|attempt| !attempt.is_older_than(longest_ttl));
                !attempts.is_empty()
            });
            self.sweep_at = self.by_key.len() * 2;
        }
    }
}

impl LateAnswers {
    /// The nodes whose answers are still to come.
    pub(super) fn pending(&self) -> NodeSet {
        self.pending
    }

    /// Receives a node's answer to the acquire.
    pub(super) fn acquire_ended(&mut self, node: usize, answer: &Result<Acquired, StoreError>) {
        let again = self.attempt.acquire_ended(node, answer);
        self.ended(node, again);
    }

    /// Receives a node's answer to the release.
    pub(super) fn release_ended(&mut self, node: usize, answer: &Result<bool, StoreError>) {
        let again = self.attempt.release_ended(node, answer);
        self.ended(node, again);
    }

    fn ended(&mut self, node: usize, again: ReleaseAgain) {
        self.pending.remove(node);
        self.unfinished.release_again(&self.attempt, node, again);
        self.attempt.no_longer_pending(self.step, [node].into_iter().collect());
    }
}

impl Drop for LateAnswers {
    fn drop(&mut self) {
        self.attempt.abandoned(self.step, self.pending);
        self.unfinished.remove_if_finished(&self.attempt);
    }
}
