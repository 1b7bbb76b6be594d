//! The host itself: no world can be given.

use std::{cell::RefCell, sync::LazyLock};

use tokio::{runtime::Handle, task::JoinHandle};

use super::world::World;

/// A map whose order of iteration differs from one program run to the next.
pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V>;

/// Answers `None`: there is no world to ask.
#[inline]
pub(super) fn replaced<T>(_ask: impl FnOnce(&(dyn World + 'static)) -> T) -> Option<T> {
    None
}

/// Answers `None`: there is no world with processes.
#[inline]
pub(super) fn process_in_world() -> Option<u32> {
    None
}

/// Runs a task on the runtime.
#[inline]
pub(crate) fn spawn<F>(runtime: &Handle, future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    runtime.spawn(future)
}

/// A value that each process has once.
pub(crate) struct PerProcess<T>(LazyLock<T>);

impl<T> PerProcess<T> {
    pub(crate) const fn new(make: fn() -> T) -> Self {
        Self(LazyLock::new(make))
    }

    /// Calls `use_it` with the value, which is made at its first use.
    pub(crate) fn with<R>(&'static self, use_it: impl FnOnce(&T) -> R) -> R {
        use_it(&self.0)
    }
}

/// A value that a thread keeps, of which the child of a fork has a copy.
pub(crate) struct OfThread<T>(RefCell<T>);

impl<T> OfThread<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Calls `use_it` with the value.
    #[inline]
    pub(crate) fn with<R>(&self, use_it: impl FnOnce(&mut T) -> R) -> R {
        use_it(&mut self.0.borrow_mut())
    }
}

/// Counts the values that contain it, in a simulation.
#[derive(Default)]
pub(crate) struct Counted<const KIND: usize>(());
