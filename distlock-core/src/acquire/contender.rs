//! The one of a key's waiters in this process who talks to the store.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    acquire::attempt::{AcquireOp, AcquireState, Mode, Outcome},
    backoff::Backoff,
    error::StoreError,
    lease::Lease,
    options::Options,
    store::{Enqueue, Hint, NextWaiter},
    wait_queue::{AbandonedAttempt, LocalHandOver, QueuePlace, Turn, WakeReason, checking},
};

/// Has its key's turn: it asks, or listens, until the key is granted. When it gives up, its place in the store's line goes to whoever
/// comes next in this process: a crowd that gives up one by one costs the store no more than one that stays.
pub(crate) struct Contender<'a> {
    place: &'a QueuePlace<'a>,
    options: &'a Options,
    since: Instant,
    acquire_op: AcquireOp<'a>,
    /// In the store's line: when to ask again.
    checks: Backoff,
    check: Option<Instant>,
    _turn: Turn<'a>,
}

impl<'a> Contender<'a> {
    /// The contender from now on, which has waited since then.
    pub(crate) fn new(
        place: &'a QueuePlace<'a>,
        options: &'a Options,
        turn: Turn<'a>,
        since: Instant,
    ) -> Self {
        let &QueuePlace { keeper, key, .. } = place;
        let acquire_op = AcquireOp::new(keeper, key, options);
        let mut contender =
            Self { options, place, since, acquire_op, checks: checking(), check: None, _turn: turn };
        if !options.fair && !options.fenced && options.renew {
            place.expect(options.ttl);
        }
        match place.left() {
            Some(left) if left.ttl == options.ttl && left.fenced == options.fenced => {
                contender.acquire_op = AcquireOp::with(keeper, key, options, left.state);
                (contender.since, contender.checks, contender.check) = (left.since, left.checks, left.check);
                return contender;
            }
            Some(left) => left.end(keeper, key),
            None => {}
        }
        // Whoever holds the key in this process brings us along when it releases: no need to ask.
        if place.is_held_here() && contender.acquire_op.register_waiter() && place.set_next(contender.next())
        {
            contender.check = Some(place.in_line(Instant::now(), &mut contender.checks));
        }
        contender
    }

    /// When the next attempt is due; `None` for now.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.acquire_op.is_asking() { None } else { self.check.or_else(|| self.place.planned()) }
    }

    /// Sleeps until the key is worth another attempt, `due` at the latest, or is ours.
    pub(crate) async fn sleep(&mut self, due: Instant) -> Result<Option<Arc<Lease>>, StoreError> {
        let in_line = self.acquire_op.is_queued();
        if in_line {
            self.place.set_next(self.next());
        }
        let held = match self.place.wait_until_worth_asking(self.acquire_op.hint(), in_line, due).await {
            WakeReason::LocalHandOver => {
                let Some(LocalHandOver { owner, lease }) = self.place.take_local_hand_over() else {
                    return Ok(None);
                };
                // Our own place in the store's line is left to whoever comes next.
                AcquireOp::with(self.place.keeper, self.place.key, self.options, AcquireState::granted(owner))
                    .accept(lease)?
            }
            WakeReason::Hint(Hint::HandedOver(lease)) => self.acquire_op.accept(lease)?,
            WakeReason::Hint(Hint::MayBeFree) => None,
        };
        if held.is_none() {
            self.check = None;
        }
        if held.is_some() {
            self.place.granted(Instant::now());
        }
        Ok(held)
    }

    /// Asks the store.
    pub(crate) async fn ask(&mut self) -> Result<Option<Arc<Lease>>, StoreError> {
        self.place.schedule_retry(Instant::now());
        let enqueue = Enqueue::new(self.since).contended(self.place.is_contended());
        let attempt = self.acquire_op.attempt(Mode::Waiting(enqueue)).await?;
        let now = Instant::now();
        match attempt {
            Outcome::Granted(held) => {
                self.place.granted(now);
                Ok(Some(held))
            }
            Outcome::Busy { remaining } => {
                self.place.note_holder(remaining, now);
                self.check = self.acquire_op.is_queued().then(|| self.place.in_line(now, &mut self.checks));
                Ok(None)
            }
        }
    }

    /// As a release brings us along.
    fn next(&self) -> NextWaiter {
        let Options { ttl, fenced, .. } = *self.options;
        NextWaiter::new(self.acquire_op.owner(), ttl, self.since).fenced(fenced)
    }
}

impl Drop for Contender<'_> {
    fn drop(&mut self) {
        let Options { ttl, fenced, .. } = *self.options;
        if let Some(LocalHandOver { owner, .. }) = self.place.take_local_hand_over() {
            // It came too late.
            drop(AcquireOp::with(
                self.place.keeper,
                self.place.key,
                self.options,
                AcquireState::granted(owner),
            ));
        }
        let Some(state) = self.acquire_op.give_up() else { return self.place.clear_next() };
        let (since, check, checks) = (self.since, self.check, self.checks.clone());
        self.place.leave(AbandonedAttempt { state, ttl, fenced, since, check, checks });
    }
}
