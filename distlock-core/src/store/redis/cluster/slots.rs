//! The slot map: which server has which slot, as far as this process knows.
//!
//! It may be wrong at any time, because slots move. A server that does not have a slot answers where the slot
//! is, so that an entry that is out of date costs a round trip and nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{super::keys::SLOTS, node::Node, topology::Range};
use crate::error::LockError;

/// How long after a server's answer a slot counts as moving. After that, the whole form of a command is tried
/// again.
const MOVING_FOR: Duration = Duration::from_millis(500);

/// Which server has which slot.
pub(super) struct SlotMap {
    state: RwLock<State>,
    /// Told of each change: a slot has another server, or has begun to move.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// The primaries.
    nodes: Vec<Arc<Node>>,
    /// All servers, replicas among them, by host and port.
    servers: Vec<(String, u16)>,
    /// For each slot its primary's place among the nodes. Empty before the first answer.
    of_slot: Vec<Option<u16>>,
    /// When each slot was last said to be moving.
    moving: HashMap<u16, Instant>,
}

impl SlotMap {
    pub(super) fn new() -> Self {
        Self { state: RwLock::default(), changes: watch::Sender::new(()) }
    }

    /// The server that has the slot.
    pub(super) fn node_of(&self, slot: u16) -> Option<Arc<Node>> {
        let state = self.read();
        let place = (*state.of_slot.get(usize::from(slot))?)?;
        state.nodes.get(usize::from(place)).cloned()
    }

    /// The primaries.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        self.read().nodes.clone()
    }

    /// All servers, by host and port.
    pub(super) fn servers(&self) -> Vec<(String, u16)> {
        self.read().servers.clone()
    }

    /// The first primary that `find` accepts.
    pub(super) fn find(&self, find: impl Fn(&Node) -> bool) -> Option<Arc<Node>> {
        self.read().nodes.iter().find(|node| find(node)).cloned()
    }

    /// Replaces the map by what a server has said. `make` makes a server that is not known yet, by host, port
    /// and a slot that it has.
    pub(super) fn replace(
        &self,
        ranges: &[Range],
        make: impl Fn(&str, u16, u16) -> Result<Arc<Node>, LockError>,
    ) -> Result<(), LockError> {
        let mut state = self.write();
        let mut new = State { of_slot: vec![None; usize::from(SLOTS)], ..State::default() };
        for Range { first, last, primary: (host, port), replicas } in ranges {
            let is_it = |node: &&Arc<Node>| node.host == *host && node.port == *port;
            let place = if let Some(place) = new.nodes.iter().position(|node| is_it(&node)) {
                place
            } else {
                let known = state.nodes.iter().find(is_it).cloned();
                new.nodes.push(known.map_or_else(|| make(host, *port, *first), Ok)?);
                new.nodes.len() - 1
            };
            let place = u16::try_from(place).ok();
            for slot in *first..=(*last).min(SLOTS - 1) {
                new.of_slot[usize::from(slot)] = place;
            }
            new.servers.extend(std::iter::once((host.clone(), *port)).chain(replicas.iter().cloned()));
        }
        new.servers.sort_unstable();
        new.servers.dedup();
        let has_changed = (0..SLOTS).map(usize::from).any(|slot| {
            let at = |state: &State| {
                let place = state.of_slot.get(slot).copied().flatten()?;
                state.nodes.get(usize::from(place)).map(Arc::as_ptr)
            };
            at(&state) != at(&new)
        });
        new.moving = std::mem::take(&mut state.moving);
        let old = std::mem::replace(&mut *state, new);
        drop(state);
        // Outside the lock: dropping a store closes its connections.
        drop(old);
        if has_changed {
            self.changes.send_replace(());
        }
        Ok(())
    }

    /// Notes that the server has the slot, which has moved there.
    pub(super) fn learn(&self, slot: u16, node: &Arc<Node>) {
        let mut state = self.write();
        let known = state.nodes.iter().position(|known| Arc::ptr_eq(known, node));
        let place = known.unwrap_or_else(|| {
            state.nodes.push(Arc::clone(node));
            state.nodes.len() - 1
        });
        state.moving.remove(&slot);
        if let Some(of_slot) = state.of_slot.get_mut(usize::from(slot)) {
            *of_slot = u16::try_from(place).ok();
        }
        drop(state);
        self.changes.send_replace(());
    }

    /// Notes that a server has said that the slot is moving.
    pub(super) fn note_moving(&self, slot: u16, now: Instant) {
        let before = self.write().moving.insert(slot, now);
        if before.is_none_or(|at| !is_lately(at, now)) {
            self.changes.send_replace(());
        }
    }

    /// Whether the slot was said to be moving a short time ago.
    pub(super) fn is_moving(&self, slot: u16, now: impl FnOnce() -> Instant) -> bool {
        let state = self.read();
        if state.moving.is_empty() {
            return false;
        }
        let (at, now) = (state.moving.get(&slot).copied(), now());
        drop(state);
        let Some(at) = at else { return false };
        if !is_lately(at, now) {
            self.write().moving.retain(|_, at| is_lately(*at, now));
        }
        is_lately(at, now)
    }

    /// Hears of changes from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_lately(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < MOVING_FOR
}
