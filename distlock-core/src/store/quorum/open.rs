//! What goes on after a decision: answers that came too late for it, releases that came after them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::ballot::Nodes;
use crate::{key::Key, lease::OwnerToken};

/// All keys of which something is open.
#[derive(Default)]
pub(super) struct OpenKeys(Mutex<HashMap<Key, Vec<Arc<Open>>>>);

/// What is open of one owner's acquisition.
pub(super) struct Open {
    owner: OwnerToken,
    /// Were not asked for the lease, because they were down.
    pub(super) left_out: Nodes,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Have not answered the acquire.
    acquiring: Nodes,
    /// Have not answered the release.
    releasing: Nodes,
    /// Have failed to answer the acquire, and may yet grant it.
    unsettled: Nodes,
    released: bool,
}

impl OpenKeys {
    /// What a new command on a key has to wait for, node by node.
    pub(super) fn of(&self, key: &Key) -> Vec<Arc<Open>> {
        let keys = self.keys();
        if keys.is_empty() { Vec::new() } else { keys.get(key).cloned().unwrap_or_default() }
    }

    pub(super) fn of_owner(&self, key: &Key, owner: &OwnerToken) -> Option<Arc<Open>> {
        let keys = self.keys();
        keys.get(key)?.iter().find(|open| open.owner == *owner).cloned()
    }

    /// Notes an acquire that was decided, if anything of it is open.
    pub(super) fn acquired(
        &self,
        key: &Key,
        owner: &OwnerToken,
        left_out: Nodes,
        unsettled: Nodes,
        acquiring: Nodes,
    ) -> Option<Arc<Open>> {
        if left_out.and(unsettled).and(acquiring).is_empty() {
            return None;
        }
        Some(self.add(key, owner, left_out, State { acquiring, unsettled, ..State::default() }))
    }

    fn add(&self, key: &Key, owner: &OwnerToken, left_out: Nodes, state: State) -> Arc<Open> {
        let state = Mutex::new(state);
        let open = Arc::new(Open { owner: *owner, left_out, state, changed: Notify::new() });
        self.keys().entry(key.clone()).or_default().push(Arc::clone(&open));
        open
    }

    /// Notes a release that was decided while these nodes have not answered it.
    pub(super) fn released(&self, key: &Key, owner: &OwnerToken, releasing: Nodes) -> Option<Arc<Open>> {
        if let Some(open) = self.of_owner(key, owner) {
            let mut state = open.state();
            state.releasing = releasing;
            state.released = true;
            drop(state);
            self.tidy(key, &open);
            return Some(open);
        }
        let state = State { releasing, released: true, ..State::default() };
        (!releasing.is_empty()).then(|| self.add(key, owner, Nodes::default(), state))
    }

    /// Forgets what has come to its end.
    pub(super) fn tidy(&self, key: &Key, open: &Arc<Open>) {
        let state = *open.state();
        let to_remember = state.unsettled.and(open.left_out);
        if !state.acquiring.and(state.releasing).is_empty() || !state.released && !to_remember.is_empty() {
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

    fn keys(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<Open>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Nodes have answered the acquire, or nobody listens any more.
    pub(super) fn acquire_answered(&self, nodes: Nodes) {
        let mut state = self.state();
        state.acquiring = state.acquiring.but(nodes);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Nodes have answered the release, or nobody listens any more.
    pub(super) fn release_answered(&self, nodes: Nodes) {
        let mut state = self.state();
        state.releasing = state.releasing.but(nodes);
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn is_unsettled(&self, at: usize) -> bool {
        self.state().unsettled.has(at)
    }

    pub(super) fn unsettle(&self, at: usize) {
        let mut state = self.state();
        state.unsettled = state.unsettled.with(at);
    }

    /// Waits until a node has answered the acquire.
    pub(super) async fn acquired(&self, at: usize) {
        self.wait_until(|state| !state.acquiring.has(at)).await;
    }

    /// Waits until nothing is under way to a node.
    pub(super) async fn quiet(&self, at: usize) {
        self.wait_until(|state| !state.acquiring.and(state.releasing).has(at)).await;
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
