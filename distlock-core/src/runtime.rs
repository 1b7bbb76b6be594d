//! One value per tokio runtime, gone when its runtime is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::{
    runtime::{Handle, Id},
    sync::oneshot,
};

use crate::error::{StoreError, StoreErrorKind};

/// One value per tokio runtime that asks for it.
///
/// A program has one runtime, a test binary a few: a list is searched faster than a map.
pub(crate) struct PerRuntime<T>(Mutex<Vec<Slot<T>>>);

struct Slot<T> {
    of: Id,
    value: T,
    /// Dropped with the slot: ends the task that watches the runtime.
    _watch: oneshot::Sender<()>,
}

impl<T> Default for PerRuntime<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T: Clone + Send + 'static> PerRuntime<T> {
    /// The current runtime's value, made by `make` on first use.
    ///
    /// # Errors
    /// When there is no current runtime, or `make` fails.
    pub(crate) fn get_or_make(
        self: &Arc<Self>,
        make: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let runtime = Handle::try_current().map_err(|error| {
            let detail =
                "there is no tokio runtime here; call it from a task, or from inside Runtime::block_on";
            StoreError::new(StoreErrorKind::Refused, detail).with_source(error)
        })?;
        let id = runtime.id();
        let mut values = self.values();
        if let Some(slot) = values.iter().find(|slot| slot.of == id) {
            return Ok(slot.value.clone());
        }
        let value = make()?;
        let (watch, ended) = oneshot::channel();
        values.push(Slot { of: id, value: value.clone(), _watch: watch });
        drop(values);
        // A task that does nothing but end with its runtime, and takes the value with it.
        let entry = Entry { values: Arc::downgrade(self), id };
        runtime.spawn(async move {
            let _entry = entry;
            let _ = ended.await;
        });
        Ok(value)
    }

    /// Makes the current runtime's value anew if it has one that `is_stale`.
    #[cfg(feature = "redis")]
    pub(crate) fn replace_if(&self, is_stale: impl Fn(&T) -> bool, make: impl FnOnce() -> T) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut values = self.values();
        let slot = values.iter_mut().find(|slot| slot.of == runtime.id() && is_stale(&slot.value));
        if let Some(slot) = slot {
            let stale = std::mem::replace(&mut slot.value, make());
            drop(values);
            // Outside the lock, as all that runs foreign code.
            drop(stale);
        }
    }

    /// Shows the values of all runtimes.
    #[cfg(feature = "redis")]
    pub(crate) fn for_each(&self, see: impl Fn(&T)) {
        self.values().iter().for_each(|slot| see(&slot.value));
    }

    /// What the first of all runtimes' values gives for which there is something.
    #[cfg(feature = "redis")]
    pub(crate) fn find_map<R>(&self, see: impl Fn(&T) -> Option<R>) -> Option<R> {
        self.values().iter().find_map(|slot| see(&slot.value))
    }

    /// The values of all runtimes.
    pub(crate) fn all(&self) -> Vec<T> {
        self.values().iter().map(|slot| slot.value.clone()).collect()
    }

    fn values(&self) -> MutexGuard<'_, Vec<Slot<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Entry<T: Clone + Send + 'static> {
    values: Weak<PerRuntime<T>>,
    id: Id,
}

impl<T: Clone + Send + 'static> Drop for Entry<T> {
    fn drop(&mut self) {
        if let Some(values) = self.values.upgrade() {
            let ended: Vec<_> = values.values().extract_if(.., |slot| slot.of == self.id).collect();
            // Outside the lock: dropping a value may run code that asks for another.
            drop(ended);
        }
    }
}
