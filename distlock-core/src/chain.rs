//! Which keys the running call chain holds, so that a nested call for one of them is refused instead of waiting for itself.

use std::sync::Arc;

use tokio::task::{LocalKey, futures::TaskLocalFuture};

use crate::{held::Held, key::Key, lease::Moment, manager::Core};

tokio::task_local! {
    static INNERMOST: Arc<Link>;
}

/// A locked body that is being polled, and the one around it.
pub(crate) struct Link {
    core: Arc<Core>,
    held: Arc<Held>,
    outer: Option<Arc<Link>>,
}

/// A body inside its link.
pub(crate) type Linked<F> = TaskLocalFuture<Arc<Link>, F>;

/// Puts `body` inside a link: while it is polled, and only then, the chain has it. Two calls side by side in one task
/// are polled one after the other, and see only what is around both.
pub(crate) fn link<F: Future>(core: &Arc<Core>, held: &Arc<Held>, body: F) -> Linked<F> {
    let link = Link { core: Arc::clone(core), held: Arc::clone(held), outer: innermost() };
    LocalKey::scope(&INNERMOST, Arc::new(link), body)
}

/// Whether the running call chain holds the key of this manager.
pub(crate) fn holds(core: &Arc<Core>, key: &Key, now: Moment) -> bool {
    let innermost = innermost();
    std::iter::successors(innermost.as_ref(), |link| link.outer.as_ref())
        .any(|link| link.held.key == *key && Arc::ptr_eq(&link.core, core) && link.held.status(now).is_ok())
}

fn innermost() -> Option<Arc<Link>> {
    INNERMOST.try_with(Arc::clone).ok()
}
