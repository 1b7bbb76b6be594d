//! What goes on after a decision: answers that came too late for it, releases that came after them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
};

use super::tally::NodeSet;
use crate::{error::StoreError, key::Key, store::Acquired, token::OwnerToken};

/// All keys of which something is open.
#[derive(Default)]
pub(super) struct UnfinishedKeys(Mutex<HashMap<Key, Vec<Arc<UnfinishedAcquire>>>>);

/// What is open of one owner's acquisition.
pub(super) struct UnfinishedAcquire {
    pub(super) owner: OwnerToken,
    /// Whose connections it was fan_out over.
    runtime: Option<Id>,
    /// Were not fan_out for the lease, because they were down.
    pub(super) left_out: NodeSet,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Have not answered the acquire.
    acquiring: NodeSet,
    /// Have not answered the release.
    releasing: NodeSet,
    /// Have failed to answer the acquire, and may yet grant it.
    unsettled: NodeSet,
    /// Have granted it after the decision.
    granted: NodeSet,
    released: bool,
    /// Have answered the release, or failed to.
    ended: NodeSet,
    /// Said that there was nothing to release.
    missed: NodeSet,
    /// Have failed to answer the release.
    failed: NodeSet,
}

impl State {
    /// Whether a node's key has to be released again, when both its answers are there: yes, with an acquire that may yet execute, or not.
    fn again(&self, at: usize) -> Option<bool> {
        if self.acquiring.has(at) || !self.ended.has(at) {
            return None;
        }
        let unsettled = self.unsettled.has(at);
        // Granted late, and not there to be released: the release came first.
        let overtaken = self.granted.has(at) && self.missed.has(at);
        (unsettled || overtaken || self.failed.has(at)).then_some(unsettled)
    }
}

impl UnfinishedKeys {
    /// What a new command on a key has to wait for, node by node.
    pub(super) fn of(
        &self,
        key: &Key,
        waits: impl Fn(&UnfinishedAcquire) -> bool,
    ) -> Vec<Arc<UnfinishedAcquire>> {
        let keys = self.keys();
        let all = if keys.is_empty() { None } else { keys.get(key) };
        all.into_iter().flatten().filter(|open| waits(open)).cloned().collect()
    }

    pub(super) fn of_owner(&self, key: &Key, owner: &OwnerToken) -> Option<Arc<UnfinishedAcquire>> {
        let keys = self.keys();
        keys.get(key)?.iter().find(|open| open.owner == *owner).cloned()
    }

    /// Notes an acquire that was decided, if anything of it is open.
    pub(super) fn acquired(
        &self,
        key: &Key,
        owner: &OwnerToken,
        left_out: NodeSet,
        unsettled: NodeSet,
        acquiring: NodeSet,
    ) -> Option<Arc<UnfinishedAcquire>> {
        if left_out.union(unsettled).union(acquiring).is_empty() {
            return None;
        }
        Some(self.add(key, owner, left_out, State { acquiring, unsettled, ..State::default() }))
    }

    fn add(&self, key: &Key, owner: &OwnerToken, left_out: NodeSet, state: State) -> Arc<UnfinishedAcquire> {
        let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
        let (state, changed) = (Mutex::new(state), Notify::new());
        let open = Arc::new(UnfinishedAcquire { owner: *owner, runtime, left_out, state, changed });
        self.keys().entry(key.clone()).or_default().push(Arc::clone(&open));
        open
    }

    /// Notes a release that was decided while these nodes have not answered it.
    pub(super) fn released(
        &self,
        key: &Key,
        owner: &OwnerToken,
        releasing: NodeSet,
    ) -> Option<Arc<UnfinishedAcquire>> {
        if let Some(open) = self.of_owner(key, owner) {
            let mut state = open.state();
            state.releasing = releasing;
            state.released = true;
            drop(state);
            self.tidy(key, &open);
            return Some(open);
        }
        let state = State { releasing, released: true, ..State::default() };
        (!releasing.is_empty()).then(|| self.add(key, owner, NodeSet::default(), state))
    }

    /// Forgets what has come to its end.
    pub(super) fn tidy(&self, key: &Key, open: &Arc<UnfinishedAcquire>) {
        let state = *open.state();
        let to_remember = state.unsettled.union(open.left_out);
        if !state.acquiring.union(state.releasing).is_empty() || !state.released && !to_remember.is_empty() {
            return;
        }
        let mut keys = self.keys();
        if let Some(all) = keys.get_mut(key) {
            all.retain(|other| !Arc::ptr_eq(other, open));
            if all.is_empty() {
                keys.remove(key);
            }
        }
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<UnfinishedAcquire>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnfinishedAcquire {
    /// NodeSet have answered the acquire, or nobody listens any more.
    pub(super) fn acquire_answered(&self, nodes: NodeSet) {
        let mut state = self.state();
        state.acquiring = state.acquiring.minus(nodes);
        drop(state);
        self.changed.notify_waiters();
    }

    /// NodeSet have answered the release, or nobody listens any more.
    pub(super) fn release_answered(&self, nodes: NodeSet) {
        let mut state = self.state();
        state.releasing = state.releasing.minus(nodes);
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn is_of_this_runtime(&self) -> bool {
        Handle::try_current().ok().map(|runtime| runtime.id()) == self.runtime
    }

    /// A late answer to the acquire. Says whether the node's key has to be released again, and whether the acquire may yet execute.
    pub(super) fn acquire_ended(&self, at: usize, answer: &Result<Acquired, StoreError>) -> Option<bool> {
        let mut state = self.state();
        state.acquiring = state.acquiring.minus(NodeSet::default().insert(at));
        match answer {
            Ok(Acquired::Granted { .. }) => state.granted = state.granted.insert(at),
            Err(error) if error.outcome_unknown() => state.unsettled = state.unsettled.insert(at),
            Ok(Acquired::Busy { .. }) | Err(_) => {}
        }
        state.again(at)
    }

    /// An answer to the release. Says the same.
    pub(super) fn release_ended(&self, at: usize, answer: &Result<bool, StoreError>) -> Option<bool> {
        let mut state = self.state();
        state.ended = state.ended.insert(at);
        match answer {
            Ok(true) => {}
            Ok(false) => state.missed = state.missed.insert(at),
            Err(_) => state.failed = state.failed.insert(at),
        }
        state.again(at)
    }

    /// Enqueue until a node has answered the acquire.
    pub(super) async fn acquired(&self, at: usize) {
        self.wait_until(|state| !state.acquiring.has(at)).await;
    }

    /// Enqueue until nothing is under way to a node.
    pub(super) async fn quiet(&self, at: usize) {
        self.wait_until(|state| !state.acquiring.union(state.releasing).has(at)).await;
    }

    async fn wait_until(&self, done: impl Fn(State) -> bool) {
        loop {
            let changed = self.changed.notified();
            if done(*self.state()) {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
