//! The manager of calls that name none.

use std::sync::{PoisonError, RwLock};

use super::handle::LockManager;
use crate::{error::LockError, events};

static DEFAULT: RwLock<Option<LockManager>> = RwLock::new(None);

tokio::task_local! {
    static SCOPED: LockManager;
}

/// Sets the manager of every call that names none, for the whole process. Call it once, in `main`.
///
/// A later call replaces the manager. Locks that are held keep theirs.
pub fn set_default(manager: LockManager) {
    *DEFAULT.write().unwrap_or_else(PoisonError::into_inner) = Some(manager);
}

/// Runs a future with a manager of its own: every call in it that names none uses this one, not the process's
/// default.
///
/// Tests that run side by side each wrap themselves. A task that the future spawns is outside; wrap its
/// future too.
///
/// # Cancel safety
/// That of the future.
pub fn with_manager<F: Future>(manager: LockManager, future: F) -> impl Future<Output = F::Output> {
    SCOPED.scope(manager, future)
}

/// The manager for a call that names none.
///
/// # Errors
/// [`LockError::NoManager`] if there is none.
#[doc(hidden)]
pub fn current_manager(key: &str) -> Result<LockManager, LockError> {
    SCOPED
        .try_with(LockManager::clone)
        .ok()
        .or_else(|| DEFAULT.read().unwrap_or_else(PoisonError::into_inner).clone())
        .ok_or_else(|| LockError::NoManager { key: key.to_owned() })
        .inspect_err(events::used_wrongly)
}
