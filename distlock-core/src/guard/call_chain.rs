//! Which keys the running call chain holds, so that a nested call for one of them is refused instead of waiting for itself.

use std::{cell::Cell, sync::Arc};

use crate::{key::Key, lease::Lease, manager::Shared};

thread_local! {
    /// The innermost locked body that this thread is polling just now. Not tokio's task-local: that is generic over the body, and was
    /// two thirds of the code that a locked function came to.
    static INNERMOST: Cell<Option<Arc<Frame>>> = const { Cell::new(None) };
}

/// A locked body, and the one around it.
pub(crate) struct Frame {
    shared: Arc<Shared>,
    held: Arc<Lease>,
    outer: Option<Arc<Frame>>,
}

impl Frame {
    /// A body under a lease, inside of what is being polled now.
    pub(crate) fn new(shared: &Arc<Shared>, held: &Arc<Lease>) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(shared), held: Arc::clone(held), outer: innermost() })
    }

    /// The chain has the body until the value is dropped: for one poll. Two calls side by side in one task are polled one after
    /// the other, and see only what is around both.
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        Entered(replace(Some(Arc::clone(self))))
    }
}

/// What was innermost before.
pub(crate) struct Entered(Option<Arc<Frame>>);

impl Drop for Entered {
    fn drop(&mut self) {
        replace(self.0.take());
    }
}

/// Whether the running call chain holds the key of this manager.
pub(crate) fn holds(shared: &Arc<Shared>, key: &Key) -> bool {
    let innermost = innermost();
    std::iter::successors(innermost.as_ref(), |link| link.outer.as_ref())
        .any(|link| link.held.key == *key && Arc::ptr_eq(&link.shared, shared) && link.held.check().is_ok())
}

fn innermost() -> Option<Arc<Frame>> {
    let link = replace(None);
    replace(link.clone());
    link
}

/// A thread that ends has no chain.
fn replace(link: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    INNERMOST.try_with(|innermost| innermost.replace(link)).ok().flatten()
}
