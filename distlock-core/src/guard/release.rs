//! How a guard ends: by a release that is waited for, in the background, or by its drop.

use std::{
    future::{self, poll_fn},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::Instant;

use super::LockGuard;
use crate::{
    clock::Moment,
    error::{LockError, LostReason, StoreError},
    events,
    lease::{Cleanup, Doubt, Ending, PendingRelease, Released},
    options::Release,
    shared::Phase,
    store::{StoreFuture, retry::Resending},
    wait_queue::WaitQueue,
};

impl LockGuard {
    /// Releases the lock, and waits until the store has confirmed it; or hands the lease to a waiter of this
    /// runtime that is not [fair](crate::LockRequest::fair).
    ///
    /// # Errors
    /// - [`LockError::Lost`] if the lease had ended before, so that another holder may have been in.
    /// - [`LockError::Store`] if the store did not confirm. The release is then tried again in the background
    ///   until the ttl is over.
    /// - [`LockError::Config`] outside of a tokio runtime. The lease's own runtime then releases the key.
    ///
    /// # Cancel safety
    /// If the future is dropped, the release goes on in the background. The key is free when the server has
    /// answered it, and after the ttl at the latest.
    pub async fn release(self) -> Result<(), LockError> {
        let now = Moment::now();
        let status = self.lease.status(now);
        self.release_at(now, status).await
    }

    /// Releases the lock, whose lease has this status at `now`.
    async fn release_at(self, now: Moment, status: Result<Duration, LostReason>) -> Result<(), LockError> {
        self.ensure_runtime("release")?;
        self.keeper.untrack(&self.lease);
        self.lease.end_hold(|| now);
        let queue = self.queue_for_release();
        if self.hand_over_locally(queue.as_deref(), || now) {
            return Ok(());
        }
        let (answer, resent) = SentRelease::new(&self, queue.as_deref(), now).answer().await;
        let lease = &self.lease;
        // Whatever the answer is, the lease is no task's to take over any more.
        lease.released.store(true, Ordering::Release);
        let released = match answer {
            Ok(released) => Released::judge(released, resent, lease.doubt()),
            Err(error) => {
                events::store_failed(&lease.key, &error);
                lease.set_ending(Ending::Unconfirmed);
                self.keeper.clean_up(Cleanup::Release(lease.pending_release(Moment::now())));
                return Err(error.for_key(lease.key.name()));
            }
        };
        self.keeper.wait_queues().notify_released(&lease.key);
        if released.doubt != Doubt::None {
            let rest = PendingRelease { doubt: released.doubt, ..lease.pending_release(now) };
            self.keeper.clean_up(Cleanup::Release(rest));
        }
        match status {
            Err(reason) => Err(lease.lost_error(reason)),
            Ok(_) if released.was_owner => {
                lease.set_ending(Ending::Confirmed);
                Ok(())
            }
            Ok(_) => {
                lease.lose(LostReason::NotOwner);
                Err(lease.lost_error(LostReason::NotOwner))
            }
        }
    }

    /// Releases the lock after its body. Nothing that goes wrong here may replace the body's value.
    #[doc(hidden)]
    pub async fn finish(self) {
        // A lease that ran out is left to the keeper: no caller is to wait for a server that may well be the
        // reason.
        let now = Moment::now();
        let status = self.lease.status(now);
        if !matches!(status, Ok(_) | Err(LostReason::MaxHold)) {
            return;
        }
        if self.lease.release == Release::Background {
            return self.release_in_background(now).await;
        }
        let (shared, key) = (Arc::clone(self.keeper.shared()), self.lease.key.clone());
        match self.release_at(now, status).await {
            Ok(()) | Err(LockError::Lost { reason: LostReason::MaxHold, .. }) => {}
            // The keeper goes on trying, and counts the failure when it gives up.
            Err(error @ LockError::Store { .. }) => {
                events::release_failed(&key, &error);
            }
            Err(error) => shared.count_failed_release(&key, &error),
        }
    }

    /// Sends the release, and leaves its answer to the keeper.
    async fn release_in_background(self, now: Moment) {
        self.keeper.untrack(&self.lease);
        self.lease.end_hold(|| now);
        let queue = self.queue_for_release();
        if self.hand_over_locally(queue.as_deref(), || now) {
            return;
        }
        let mut release = SentRelease::new(&self, queue.as_deref(), now);
        // The first poll sends it, in this task, so that no later command overtakes it.
        poll_fn(|cx| {
            if let Poll::Ready((answer, _)) = release.poll(cx) {
                release.command = Some(Resending::new(Box::pin(future::ready(answer))));
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Hands the lease to a waiter of this runtime that takes it as it is.
    fn hand_over_locally(&self, queue: Option<&WaitQueue>, now: impl FnOnce() -> Moment) -> bool {
        let Some(queue) = queue else { return false };
        let (lease, shared) = (&self.lease, self.keeper.shared());
        let make = || {
            // Waiters are refused from the beginning of a drain on.
            let takes = shared.phase() == Phase::Running;
            takes.then(|| lease.local_hand_over(now())).flatten()
        };
        let handed_over = queue.hand_over_locally(lease.ttl, make);
        if handed_over {
            lease.set_ending(Ending::HandedOver);
            lease.released.store(true, Ordering::Release);
        }
        handed_over
    }

    /// The queue whose contender may be served by the release: that of the lease's runtime, if it is the
    /// current one.
    ///
    /// The release does not name a waiter of another runtime, which may stand still. It wakes that runtime's
    /// contender, which then asks the store.
    fn queue_for_release(&self) -> Option<Arc<WaitQueue>> {
        let queue = self.keeper.wait_queues().find(&self.lease.key)?;
        if self.keeper.is_of_this_runtime() {
            return Some(queue);
        }
        queue.note_released_elsewhere();
        None
    }
}

impl LockGuard {
    /// Marks the lease as lost. Reports how it was held, and an earlier loss unless the keeper has reported
    /// it.
    fn report_end(&self) {
        let lease = &self.lease;
        lease.end_hold(Moment::now);
        let hold = if events::is_heard() { lease.hold() } else { None };
        if let Some(reason) = lease.close() {
            events::lost(&lease.key, lease.span(), reason);
        }
        if let Some(hold) = hold {
            events::released(&lease.key, lease.span(), &hold);
        }
    }
}

/// A release that has been sent. Dropped without an answer, it goes on in the background.
struct SentRelease<'a> {
    guard: &'a LockGuard,
    keep_until: Option<Instant>,
    /// The command, until its answer is there.
    command: Option<Resending<bool>>,
}

impl<'a> SentRelease<'a> {
    fn new(guard: &'a LockGuard, queue: Option<&WaitQueue>, now: Moment) -> Self {
        let keep_until = guard.lease.shorten(now);
        let command = Resending::new(Self::send(guard, keep_until, queue));
        Self { guard, keep_until, command: Some(command) }
    }

    fn send(guard: &LockGuard, keep_until: Option<Instant>, queue: Option<&WaitQueue>) -> StoreFuture<bool> {
        let LockGuard { lease, keeper, .. } = guard;
        keeper.shared().send_release(&lease.key, &lease.owner, keep_until, queue)
    }

    /// The store's answer, and whether the release was sent twice.
    async fn answer(mut self) -> (Result<bool, StoreError>, bool) {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Result<bool, StoreError>, bool)> {
        let Some(command) = &mut self.command else { return Poll::Pending };
        let (guard, keep_until) = (self.guard, self.keep_until);
        let send = || Self::send(guard, keep_until, guard.queue_for_release().as_deref());
        let answer = ready!(command.poll(cx, send));
        let resent = command.was_resent();
        self.command = None;
        Poll::Ready((answer, resent))
    }
}

impl Drop for SentRelease<'_> {
    fn drop(&mut self) {
        if let Some(command) = self.command.take() {
            let LockGuard { lease, keeper, .. } = self.guard;
            lease.released.store(true, Ordering::Release);
            keeper.clean_up(Cleanup::Releasing { command, release: lease.pending_release(Moment::now()) });
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let lease = &self.lease;
        let released = lease.released.load(Ordering::Acquire) || {
            self.keeper.untrack(lease);
            self.hand_over_locally(self.queue_for_release().as_deref(), Moment::now)
        };
        // It marks the lease as lost, for a call chain that still has the body.
        self.report_end();
        if !released {
            self.keeper.clean_up(Cleanup::Release(lease.pending_release(Moment::now())));
        }
        self.keeper.shared().guard_ended();
    }
}
