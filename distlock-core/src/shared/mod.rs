//! What all parts of one manager share, in every runtime: the store and the counters.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::Semaphore;

use crate::{error::StoreError, key::Key, store::Store};

mod commands;
#[cfg(feature = "testing")]
mod test_leases;

/// What a manager, its keepers and its guards share.
pub(crate) struct Shared {
    pub(crate) store: Box<dyn Store>,
    failed_releases: AtomicU64,
    /// Set by a shutdown, never cleared.
    shut_down: AtomicBool,
    /// Bounds how many releases are sent again at a time while the store fails.
    retries: Semaphore,
    /// The leases that a test looks at and loses, if the manager is a test's.
    #[cfg(feature = "testing")]
    pub(crate) test_leases: test_leases::TestLeases,
}

const RETRIES_AT_ONCE: usize = 16;

impl Shared {
    pub(crate) fn new(store: Box<dyn Store>) -> Self {
        Self {
            store,
            failed_releases: AtomicU64::new(0),
            shut_down: AtomicBool::new(false),
            retries: Semaphore::new(RETRIES_AT_ONCE),
            #[cfg(feature = "testing")]
            test_leases: test_leases::TestLeases::default(),
        }
    }

    /// # Errors
    /// When the manager was shut down.
    pub(crate) fn ensure_running(&self) -> Result<(), StoreError> {
        if self.shut_down.load(Ordering::Acquire) { Err(StoreError::shut_down()) } else { Ok(()) }
    }

    /// Refuses every call from now on.
    pub(crate) fn shut_down(&self) {
        self.shut_down.store(true, Ordering::Release);
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
