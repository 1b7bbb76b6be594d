//! The leases of one manager, for tests that look at them and lose them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use crate::{clock::Moment, error::LostReason, key::Key, lease::Lease};

/// The leases that a test's manager has been granted, and the losses that the test has planned. Every other
/// manager has none.
#[derive(Default)]
pub(crate) struct TestLeases(OnceLock<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Leases are added when they begin. Those that are gone are removed at the next addition.
    leases: Vec<Weak<Lease>>,
    /// The next lease of the key takes its loss.
    planned: HashMap<Key, LostReason>,
}

impl TestLeases {
    /// Makes the manager a test's, before it is used.
    pub(crate) fn enable(&self) {
        drop(self.state());
    }

    /// Adds a lease that has no guard yet, if the manager is a test's. It takes the loss that is planned for
    /// its key.
    pub(crate) fn add(&self, lease: &Arc<Lease>) {
        if self.0.get().is_none() {
            return;
        }
        let mut state = self.state();
        if let Some(reason) = state.planned.remove(&lease.key) {
            lease.plan_loss(reason);
        }
        state.leases.retain(|lease| lease.strong_count() > 0);
        state.leases.push(Arc::downgrade(lease));
    }

    /// Loses the key's lease, or plans the loss of the next one.
    pub(crate) fn lose(&self, key: Key, reason: LostReason) {
        let mut state = self.state();
        match state.lease(&key) {
            Some(lease) => lease.lose(reason),
            None => drop(state.planned.insert(key, reason)),
        }
    }

    /// Whether a body runs under the key's lease; `None` if no guard has the key.
    pub(crate) fn has_body(&self, key: &Key) -> Option<bool> {
        let state = self.state();
        // A lease that was lost counts too: its guard or its body keeps the key until it is dropped.
        let leases = state.leases.iter().filter_map(Weak::upgrade).filter(|lease| lease.key == *key);
        leases.map(|lease| lease.has_body()).max()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The key's lease, unless it was lost or released.
    fn lease(&self, key: &Key) -> Option<Arc<Lease>> {
        let mut leases = self.leases.iter().filter_map(Weak::upgrade);
        leases.find(|lease| lease.key == *key && lease.status(Moment::now()).is_ok())
    }
}
