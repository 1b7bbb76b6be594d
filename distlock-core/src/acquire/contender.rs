//! The contender: the one of a key's waiters in a runtime that asks the store.

use std::sync::Arc;

use tokio::time::Instant;

use super::attempt::{AcquireOp, Mode, Outcome};
use crate::{
    backoff::Backoff,
    clock::Moment,
    error::StoreError,
    keeper::Keeper,
    key::Key,
    lease::{AcquireState, Lease, LocalHandOver},
    options::Options,
    store::{Enqueue, Hint, NextWaiter},
    wait_queue::{AbandonedAttempt, QueuePlace, Turn, WakeReason, delays_between_checks},
};

/// A call that waits in its runtime's queue for a key.
///
/// The drop leaves the queue. The last waiter to leave cleans up an attempt that a contender abandoned.
pub(super) struct QueuedCall<'a> {
    pub(super) keeper: &'a Keeper,
    pub(super) key: &'a Key,
    pub(super) place: QueuePlace<'a>,
}

impl<'a> QueuedCall<'a> {
    pub(super) fn join(keeper: &'a Keeper, key: &'a Key) -> Self {
        Self { keeper, key, place: keeper.wait_queues().join(key) }
    }

    fn clean_up(&self, attempt: AbandonedAttempt) {
        if let Some(cleanup) = attempt.into_cleanup(self.key) {
            self.keeper.clean_up(cleanup);
        }
    }
}

impl Drop for QueuedCall<'_> {
    fn drop(&mut self) {
        if let Some(attempt) = self.place.leave() {
            self.clean_up(attempt);
        }
    }
}

/// The waiter whose turn it is. It asks, or listens, until the key is granted.
///
/// A contender that gives up leaves its queue entry or unanswered acquire to the next waiter of its runtime.
/// So a crowd whose waiters give up one by one costs the store no more than one waiter that stays. A grant
/// that the contender has not turned into a lease is released.
pub(super) struct Contender<'a> {
    call: &'a QueuedCall<'a>,
    options: &'a Options,
    /// When the contender began to wait, or the first contender of the attempt that it resumes.
    waiting_since: Instant,
    acquire: AcquireOp<'a>,
    /// When to ask again although the store may still send a hint. With `None`, the queue's `retry_at`
    /// decides. Set by each refusal, cleared when the contender wakes up without a grant.
    check_at: Option<Instant>,
    /// The delays between such questions.
    checks: Backoff,
    _turn: Turn<'a>,
}

impl<'a> Contender<'a> {
    /// Makes the holder of the turn the contender.
    ///
    /// It resumes the attempt that the previous contender abandoned if ttl and fencing match. Otherwise that
    /// attempt is cleaned up.
    pub(super) fn new(
        call: &'a QueuedCall<'a>,
        options: &'a Options,
        turn: Turn<'a>,
        waiting_since: Instant,
        now: Instant,
    ) -> Self {
        let (place, abandoned) = (&call.place, call.place.take_abandoned());
        if !options.fair && !options.fenced && options.renew {
            place.accept_local_hand_over(options.ttl);
        }
        let abandoned = match abandoned {
            Some(attempt) if attempt.ttl == options.ttl && attempt.fenced == options.fenced => Some(attempt),
            Some(attempt) => {
                call.clean_up(attempt);
                None
            }
            None => None,
        };
        let is_first = abandoned.is_none();
        let (acquire, waiting_since, check_at, checks) = if let Some(attempt) = abandoned {
            let AbandonedAttempt { state, waiting_since, check_at, checks, .. } = attempt;
            (AcquireOp::resume(call.keeper, call.key, options, state), waiting_since, check_at, checks)
        } else {
            let acquire = AcquireOp::new(call.keeper, call.key, options);
            (acquire, waiting_since, None, delays_between_checks())
        };
        let mut contender = Self { call, options, waiting_since, acquire, check_at, checks, _turn: turn };
        if is_first {
            contender.expect_release_of_this_runtime(now);
        }
        contender
    }

    /// Skips the first question if a task of this runtime holds the key and the store can tell the contender
    /// of the hand-over.
    fn expect_release_of_this_runtime(&mut self, now: Instant) {
        let place = &self.call.place;
        if place.is_held_here() && self.acquire.register_waiter() && place.set_next(self.as_next()) {
            self.check_at = Some(place.note_queued(now, &mut self.checks));
        }
    }

    /// When the next attempt is due; `None` means at once.
    pub(super) fn due_at(&self) -> Option<Instant> {
        if self.acquire.is_pending() { None } else { self.check_at.or_else(|| self.call.place.retry_at()) }
    }

    /// Sleeps until the key is worth another attempt, until `due_at` at the latest, or until it was handed
    /// over.
    ///
    /// # Cancel safety
    /// If the future is dropped, a lease that was handed over locally is released by the contender's drop. A
    /// hand-over by the store stays registered for the next contender.
    pub(super) async fn sleep(&mut self, due_at: Instant) -> Result<Option<Arc<Lease>>, StoreError> {
        let QueuedCall { keeper, key, place } = self.call;
        let is_queued = self.acquire.is_queued();
        if is_queued {
            place.set_next(self.as_next());
        }
        let lease = match place.wait_until_worth_asking(self.acquire.hint(), is_queued, due_at).await {
            WakeReason::LocalHandOver => {
                let Some(LocalHandOver { owner, lease }) = place.take_local_hand_over() else {
                    return Ok(None);
                };
                // The contender's own entry in the store's queue is left to the next waiter.
                AcquireOp::resume(keeper, key, self.options, AcquireState::granted(owner))
                    .accept(lease)
                    .await?
            }
            WakeReason::Hint(Hint::HandedOver(lease)) => self.acquire.accept(lease).await?,
            WakeReason::Hint(Hint::MayBeFree) => None,
        };
        if let Some(lease) = &lease {
            place.note_granted(lease.granted_at());
        } else {
            self.check_at = None;
        }
        Ok(lease)
    }

    /// Asks the store, not before `now`.
    ///
    /// # Cancel safety
    /// As [`AcquireOp::attempt`].
    pub(super) async fn ask_store(&mut self, now: Moment) -> Result<Option<Arc<Lease>>, StoreError> {
        let place = &self.call.place;
        place.schedule_retry(now.at);
        let enqueue = Enqueue::new(self.waiting_since).contended(place.is_contended());
        let outcome = self.acquire.attempt(Mode::OrEnqueue(enqueue), now).await?;
        match outcome {
            Outcome::Granted(lease) => {
                place.note_granted(lease.granted_at());
                Ok(Some(lease))
            }
            Outcome::Busy(seen) => {
                let now = Instant::now();
                place.note_holder(seen, now);
                self.check_at = self.acquire.is_queued().then(|| place.note_queued(now, &mut self.checks));
                Ok(None)
            }
        }
    }

    /// The contender as a release of this runtime names it to the store.
    fn as_next(&self) -> NextWaiter {
        let Options { ttl, fenced, .. } = *self.options;
        NextWaiter::new(self.acquire.owner(), ttl, self.waiting_since).fenced(fenced)
    }
}

impl Drop for Contender<'_> {
    fn drop(&mut self) {
        let QueuedCall { keeper, key, place } = self.call;
        let Options { ttl, fenced, .. } = *self.options;
        if let Some(LocalHandOver { owner, .. }) = place.take_local_hand_over() {
            // The lease came when the contender had already given up, or been granted the key otherwise.
            drop(AcquireOp::resume(keeper, key, self.options, AcquireState::granted(owner)));
        }
        let Some(state) = self.acquire.abandon() else { return place.clear_next() };
        let (waiting_since, check_at, checks) = (self.waiting_since, self.check_at, self.checks.clone());
        place.abandon(AbandonedAttempt { state, ttl, fenced, waiting_since, check_at, checks });
    }
}
