//! What all parts of one manager share, in every runtime: the store and the counters.

use std::{
    fmt,
    sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

use tokio::sync::{Notify, Semaphore};

use crate::{
    error::StoreError,
    key::Key,
    store::Store,
    token::{Label, OwnerToken},
};

mod commands;
#[cfg(feature = "testing")]
mod test_leases;

/// What a manager, its keepers and its guards share.
pub(crate) struct Shared {
    pub(crate) store: Box<dyn Store>,
    /// The label of this manager's owners; `None` for the label of the process.
    label: Option<Label>,
    failed_releases: AtomicU64,
    /// A [`Phase`], which only rises.
    phase: AtomicU8,
    /// How many guards there are.
    guards: AtomicUsize,
    /// Notified when the last guard ends after a drain has begun.
    guards_ended: Notify,
    /// Bounds how many releases are sent again at a time while the store fails.
    retries: Semaphore,
    /// The leases that a test looks at and loses, if the manager is a test's.
    #[cfg(feature = "testing")]
    pub(crate) test_leases: test_leases::TestLeases,
}

const RETRIES_AT_ONCE: usize = 16;

/// How far the end of a manager has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
#[repr(u8)]
pub(crate) enum Phase {
    Running,
    /// New calls are refused, and running bodies go on.
    Draining,
    /// Every call is refused.
    ShutDown,
}

impl Shared {
    pub(crate) fn new(store: Box<dyn Store>, label: Option<Label>) -> Self {
        Self {
            store,
            label,
            failed_releases: AtomicU64::new(0),
            phase: AtomicU8::new(Phase::Running as u8),
            guards: AtomicUsize::new(0),
            guards_ended: Notify::new(),
            retries: Semaphore::new(RETRIES_AT_ONCE),
            #[cfg(feature = "testing")]
            test_leases: test_leases::TestLeases::default(),
        }
    }

    /// Draws a fresh owner token with the label of this manager's owners.
    pub(crate) fn draw_owner(&self) -> OwnerToken {
        OwnerToken::draw(self.label)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Running,
            1 => Phase::Draining,
            _ => Phase::ShutDown,
        }
    }

    /// # Errors
    /// When the manager was shut down.
    pub(crate) fn ensure_not_shut_down(&self) -> Result<(), StoreError> {
        if self.phase() == Phase::ShutDown { Err(StoreError::shut_down()) } else { Ok(()) }
    }

    /// Refuses calls from now on, as the phase says.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
    }

    /// Called when a guard is made.
    pub(crate) fn guard_began(&self) {
        self.guards.fetch_add(1, Ordering::SeqCst);
    }

    /// Called when a guard ends, after its release.
    pub(crate) fn guard_ended(&self) {
        // Either this sees the phase, or the drain sees the count: neither operation passes the other one.
        if self.guards.fetch_sub(1, Ordering::SeqCst) == 1 && self.phase() != Phase::Running {
            self.guards_ended.notify_waiters();
        }
    }

    /// Waits until there is no guard. Works after a drain has begun.
    pub(crate) async fn wait_for_guards(&self) {
        loop {
            // It hears of everything from here on.
            let ended = self.guards_ended.notified();
            if self.guards.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }

    pub(crate) fn failed_releases(&self) -> u64 {
        self.failed_releases.load(Ordering::Relaxed)
    }

    /// Counts and logs a lease that was left to its ttl.
    pub(crate) fn count_failed_release(&self, key: &Key, cause: &dyn fmt::Display) {
        self.failed_releases.fetch_add(1, Ordering::Relaxed);
        tracing::error!(key = key.name(), %cause, "lock not released: it ends with its ttl");
    }
}
