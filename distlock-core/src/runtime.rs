//! One value per tokio runtime, dropped when its runtime ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    error::{StoreError, StoreErrorKind},
    seam::{self, RuntimeId},
};

/// One value for each tokio runtime that has used it.
///
/// A program has one runtime and a test binary a few, so a list is searched faster than a map.
pub(crate) struct PerRuntime<T>(Mutex<Vec<Slot<T>>>);

struct Slot<T> {
    runtime: RuntimeId,
    value: T,
    /// Its drop ends the slot's [`SlotOwner`] task.
    _end_owner: oneshot::Sender<()>,
}

impl<T> Default for PerRuntime<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T: Clone + Send + 'static> PerRuntime<T> {
    /// The current runtime's value. `make` makes it at the first use.
    ///
    /// # Errors
    /// If there is no current runtime, or `make` fails.
    pub(crate) fn get_or_make(
        self: &Arc<Self>,
        make: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let runtime = Handle::try_current().map_err(|error| {
            let detail =
                "there is no tokio runtime here; call it from a task, or from inside Runtime::block_on";
            StoreError::new(StoreErrorKind::Refused, detail).with_source(error)
        })?;
        let id = RuntimeId::of(&runtime);
        let mut values = self.values();
        if let Some(slot) = values.iter().find(|slot| slot.runtime == id) {
            return Ok(slot.value.clone());
        }
        let value = make()?;
        let (end_owner, end) = oneshot::channel();
        values.push(Slot { runtime: id, value: value.clone(), _end_owner: end_owner });
        drop(values);
        // The task does nothing. The runtime drops it when it ends, and the task drops the value.
        let owner = SlotOwner { values: Arc::downgrade(self), runtime: id };
        seam::spawn(&runtime, async move {
            let _owner = owner;
            let _ = end.await;
        });
        Ok(value)
    }

    /// Replaces the current runtime's value if it has one that `is_stale`.
    pub(crate) fn replace_if(&self, is_stale: impl Fn(&T) -> bool, make: impl FnOnce() -> T) {
        let Ok(runtime) = RuntimeId::current() else { return };
        let mut values = self.values();
        let slot = values.iter_mut().find(|slot| slot.runtime == runtime && is_stale(&slot.value));
        if let Some(slot) = slot {
            let stale = std::mem::replace(&mut slot.value, make());
            drop(values);
            // Outside the lock: dropping a value may run code that uses this list.
            drop(stale);
        }
    }

    /// Calls `apply` with the value of each runtime, under the lock.
    #[cfg(feature = "redis")]
    pub(crate) fn for_each(&self, apply: impl Fn(&T)) {
        self.values().iter().for_each(|slot| apply(&slot.value));
    }

    /// The first `Some` that `find` answers for a runtime's value, under the lock.
    #[cfg(feature = "redis")]
    pub(crate) fn find_map<R>(&self, find: impl Fn(&T) -> Option<R>) -> Option<R> {
        self.values().iter().find_map(|slot| find(&slot.value))
    }

    /// The values of all runtimes.
    pub(crate) fn all(&self) -> Vec<T> {
        self.values().iter().map(|slot| slot.value.clone()).collect()
    }

    fn values(&self) -> MutexGuard<'_, Vec<Slot<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lives in a task of the runtime. Its drop removes the runtime's value.
struct SlotOwner<T: Clone + Send + 'static> {
    values: Weak<PerRuntime<T>>,
    runtime: RuntimeId,
}

impl<T: Clone + Send + 'static> Drop for SlotOwner<T> {
    fn drop(&mut self) {
        if let Some(values) = self.values.upgrade() {
            let ended: Vec<_> = values.values().extract_if(.., |slot| slot.runtime == self.runtime).collect();
            // Outside the lock: dropping a value may run code that uses this list.
            drop(ended);
        }
    }
}
