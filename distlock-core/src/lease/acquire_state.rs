//! What is known of the acquires that were sent with one owner token.

use std::time::Duration;

use tokio::time::Instant;

use super::cleanup::{Cleanup, Doubt, PendingRelease};
use crate::{
    clock::Moment,
    key::Key,
    store::{Acquired, retry::Resending},
    token::OwnerToken,
};

/// An owner token, and what is known of the acquires that were sent with it.
///
/// It outlives its caller: a waiter that gives up leaves it to the next waiter of the queue, and whatever is
/// left at the end becomes a [`Cleanup`].
pub(crate) struct AcquireState {
    pub(crate) owner: OwnerToken,
    /// The acquire that has been sent and not been answered. Its answer clears it.
    pub(crate) pending: Option<PendingAcquire>,
    /// An acquire ended without an answer, so that it may have been granted or may yet be. Only a lease that
    /// takes this state over, with the doubt, clears it.
    pub(crate) in_doubt: bool,
    /// The store has granted the key, and no lease has taken the grant over yet. Cleared by the lease, and by
    /// an answer that the key is another's.
    pub(crate) granted: bool,
    /// The owner may be in the store's wait queue, or is registered for a hand-over. Set by `register_waiter`
    /// and by each sending. Cleared by the lease, or by an answer after which the store does not list the
    /// owner.
    pub(crate) queued: bool,
}

/// How long a queue is tried to be left at the least. Other waiters keep an entry from lapsing for longer
/// than its own ttl.
const LEAVE_QUEUE_FOR: Duration = Duration::from_secs(60);

/// An acquire that has been sent.
pub(crate) struct PendingAcquire {
    pub(crate) command: Resending<Acquired>,
    /// The moment before its first sending.
    pub(crate) sent: Moment,
}

impl AcquireState {
    /// The state before the first acquire.
    pub(crate) fn new(owner: OwnerToken) -> Self {
        Self { owner, pending: None, in_doubt: false, granted: false, queued: false }
    }

    /// The state of a grant that no lease has taken over yet.
    pub(crate) fn granted(owner: OwnerToken) -> Self {
        Self { granted: true, ..Self::new(owner) }
    }

    /// Whether another waiter can go on with it in place of a fresh owner token.
    pub(crate) fn is_worth_resuming(&self) -> bool {
        !self.granted && (self.pending.is_some() || self.in_doubt || self.queued)
    }

    /// Takes what is left to do if no caller goes on; `None` if nothing is left.
    pub(crate) fn take_cleanup(&mut self, key: &Key, ttl: Duration) -> Option<Cleanup> {
        let Self { owner, in_doubt, granted, queued, .. } = *self;
        let release = |in_doubt| PendingRelease {
            key: key.clone(),
            owner,
            until: Instant::now() + if queued { ttl.max(LEAVE_QUEUE_FOR) } else { ttl },
            doubt: Doubt::new(in_doubt, granted),
            is_of_lease: granted,
            keep_until: None,
        };
        match self.pending.take() {
            // The acquire may have been sent, and its future cannot be polled any more.
            Some(PendingAcquire { command, .. }) if command.is_poisoned() => {
                Some(Cleanup::Release(release(true)))
            }
            Some(PendingAcquire { command, .. }) => {
                let in_doubt = in_doubt || command.was_resent();
                Some(Cleanup::Acquire { pending: command.into_pending(), release: release(in_doubt), queued })
            }
            None if granted || in_doubt || queued => Some(Cleanup::Release(release(in_doubt))),
            None => None,
        }
    }
}
