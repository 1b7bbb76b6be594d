//! The manager that a call names.

use std::ops::Deref;

use super::handle::LockManager;

/// A value that `locks = ..` takes: a manager, or a value that dereferences to one.
#[diagnostic::on_unimplemented(
    message = "`locks` takes a `LockManager`, or a value that dereferences to one",
    label = "its type is `{Self}`",
    note = "write the expression that gives the manager: `locks = state.locks`, \
            `locks = LOCKS.get().expect(\"set in main\")`; \
            `Arc`, `LazyLock`, `State`, `Extension` and `web::Data` of a `LockManager` are taken as they are"
)]
pub trait HasManager {
    /// Returns a handle on the manager.
    fn manager(&self) -> LockManager;
}

#[diagnostic::do_not_recommend]
impl HasManager for LockManager {
    fn manager(&self) -> LockManager {
        self.clone()
    }
}

#[diagnostic::do_not_recommend]
impl<P: Deref<Target: HasManager> + ?Sized> HasManager for P {
    fn manager(&self) -> LockManager {
        self.deref().manager()
    }
}
