//! Which keys the running call chain holds, so that a nested call for one of them is refused instead of
//! waiting for itself.

use std::{cell::Cell, sync::Arc};

use tokio::task::{Id, try_id};

use crate::{key::Key, lease::Lease, shared::Shared};

thread_local! {
    /// The innermost locked body that this thread is polling now. A tokio task-local would be generic over
    /// the body, and was two thirds of the code that a locked function compiled to.
    static INNERMOST: Cell<Option<Arc<Frame>>> = const { Cell::new(None) };
}

/// A locked body, and the one around it.
pub(super) struct Frame {
    /// The task that runs the body; `None` for `block_on`. A task that a body drives, as on a `LocalSet`, has
    /// an id of its own and is not part of the body's call chain.
    task: Option<Id>,
    shared: Arc<Shared>,
    lease: Arc<Lease>,
    outer: Option<Arc<Frame>>,
}

impl Frame {
    /// A body under a lease, inside of the body that is being polled now.
    pub(super) fn new(shared: &Arc<Shared>, lease: &Arc<Lease>) -> Arc<Self> {
        Arc::new(Self {
            task: try_id(),
            shared: Arc::clone(shared),
            lease: Arc::clone(lease),
            outer: innermost(),
        })
    }

    /// Puts the body into the chain until the value is dropped: for one poll.
    ///
    /// Two calls side by side in one task are polled one after the other, and see only what is around both.
    pub(super) fn enter(self: &Arc<Self>) -> Entered {
        Entered(replace(Some(Arc::clone(self))))
    }
}

/// Restores the frame that was innermost before.
pub(super) struct Entered(Option<Arc<Frame>>);

impl Drop for Entered {
    fn drop(&mut self) {
        replace(self.0.take());
    }
}

/// Whether the running call chain holds the key of this manager.
pub(crate) fn holds(shared: &Arc<Shared>, key: &Key) -> bool {
    let (innermost, task) = (innermost(), try_id());
    std::iter::successors(innermost.as_ref(), |frame| frame.outer.as_ref()).any(|frame| {
        frame.lease.key == *key
            && frame.task == task
            && Arc::ptr_eq(&frame.shared, shared)
            && frame.lease.check().is_ok()
    })
}

/// Whether the running call chain is inside a locked body of this manager.
pub(crate) fn is_inside(shared: &Arc<Shared>) -> bool {
    let (innermost, task) = (innermost(), try_id());
    std::iter::successors(innermost.as_ref(), |frame| frame.outer.as_ref())
        .any(|frame| frame.task == task && Arc::ptr_eq(&frame.shared, shared))
}

fn innermost() -> Option<Arc<Frame>> {
    let frame = replace(None);
    replace(frame.clone());
    frame
}

/// Replaces the innermost frame. A thread that is ending has no chain.
fn replace(frame: Option<Arc<Frame>>) -> Option<Arc<Frame>> {
    INNERMOST.try_with(|innermost| innermost.replace(frame)).ok().flatten()
}
