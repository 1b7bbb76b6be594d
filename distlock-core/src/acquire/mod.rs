//! How a checked request gets its lease: once, or in the queue until a deadline.
//!
//! - [`attempt`] is one acquire, which the keeper finishes even if its caller goes away.
//! - [`contender`] is the one waiter of a key in a runtime that asks the store.
//!
//! A call without `wait` asks once. A call with `wait` joins its runtime's queue for the key. The call whose
//! turn it is becomes the contender. The contender asks the store, sleeps until it is woken or its next
//! attempt is due, and asks again.

use std::{future::Future, sync::Arc};

use futures_util::future::{Either, FutureExt};
use tokio::time::{Instant, timeout_at};

use crate::{
    clock::Moment,
    error::{LockError, StoreError},
    keeper::Keeper,
    key::Key,
    lease::Lease,
    options::Options,
    wait_queue::SeenHolder,
};

mod attempt;
mod contender;

use attempt::{AcquireOp, Mode, Outcome, admit};
use contender::{Contender, QueuedCall};

/// A checked request on its way.
///
/// # Cancel safety
/// A call that is dropped at any await leaves the queue. The next waiter resumes its attempt. If no waiter is
/// left, or the key was granted, the keeper cleans up.
pub(crate) struct Call<'a> {
    pub(crate) keeper: &'a Keeper,
    pub(crate) key: &'a Key,
    pub(crate) options: &'a Options,
    /// When the call began. Its deadline is counted from here.
    pub(crate) started: Moment,
}

impl Call<'_> {
    /// Asks once, and never sleeps.
    pub(crate) async fn once(&self) -> Result<Arc<Lease>, LockError> {
        let shared = self.keeper.shared();
        // A call without `wait` must not overtake the waiters of this runtime, even if the key is free.
        if self.keeper.wait_queues().has_waiters(self.key) {
            let holder = shared.store.inspect(self.key).await.map_err(|error| self.failed(error))?;
            let remaining = holder.as_ref().and_then(|holder| holder.remaining);
            return Err(self.busy(SeenHolder { remaining, holder: holder.map(Box::new) }));
        }
        let mut acquire = AcquireOp::new(self.keeper, self.key, self.options);
        match acquire.attempt(Mode::Once, self.started).await {
            Ok(Outcome::Granted(lease)) => Ok(lease),
            Ok(Outcome::Busy(seen)) => Err(self.busy(seen)),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Waits for the turn in the queue. The call then asks as the contender until the key is granted or the
    /// deadline has come.
    pub(crate) async fn until(&self, deadline: Option<Instant>) -> Result<Arc<Lease>, LockError> {
        let queued = QueuedCall::join(self.keeper, self.key);
        let (turn, now) = if let Some(turn) = queued.place.try_turn() {
            (turn, self.started)
        } else {
            let turn = before(deadline, queued.place.turn()).await;
            let now = Moment::now();
            let turn = turn.filter(|_| deadline.is_none_or(|deadline| now.at < deadline));
            let Some(turn) = turn else { return Err(self.busy(queued.place.holder(now.at))) };
            (turn, now)
        };
        admit(self.keeper.shared()).map_err(|error| self.failed(error))?;
        let mut contender = Contender::new(&queued, self.options, turn, self.started.at, now.at);
        // The latest error, and when the unbroken run of errors began.
        let mut failing: Option<(Instant, StoreError)> = None;
        // The clock's reading, until the first await.
        let mut now = Some(now);
        loop {
            if let Some(due_at) = contender.due_at() {
                now = None;
                match before(deadline, contender.sleep(due_at)).await {
                    Some(Ok(Some(lease))) => return Ok(lease),
                    Some(Ok(None)) => {}
                    Some(Err(error)) => return Err(self.failed(error)),
                    None => {
                        let seen = queued.place.holder(Instant::now());
                        return Err(failing.map_or_else(|| self.busy(seen), |(_, error)| self.failed(error)));
                    }
                }
            }
            let asked_at = now.take().unwrap_or_else(Moment::now);
            match before(deadline, contender.ask_store(asked_at)).await {
                Some(Ok(Some(lease))) => return Ok(lease),
                Some(Ok(None)) => failing = None,
                Some(Err(error)) => {
                    let now = Instant::now();
                    let since = failing.take().map_or(now, |(since, _)| since);
                    if !error.is_transient() || now - since >= self.options.ttl {
                        return Err(self.failed(error));
                    }
                    failing = Some((since, error));
                }
                // The deadline came before the answer.
                None => {
                    if let Some((_, error)) = failing {
                        return Err(self.failed(error));
                    }
                    let (place, now) = (&queued.place, Moment::now());
                    if place.was_refused_since(self.started.at) {
                        return Err(self.busy(place.holder(now.at)));
                    }
                    // No answer has said yet whether the key is held. So the call waits for the first answer,
                    // as without `wait`.
                    let answer = contender.ask_store(now).await.map_err(|error| self.failed(error))?;
                    return answer.ok_or_else(|| self.busy(place.holder(Instant::now())));
                }
            }
        }
    }

    fn busy(&self, SeenHolder { remaining, mut holder }: SeenHolder) -> LockError {
        if let Some(holder) = &mut holder {
            holder.remaining = remaining;
        }
        let (key, waited) = (self.key.name().to_owned(), self.started.at.elapsed());
        LockError::Busy { key, waited, remaining, holder }
    }

    fn failed(&self, error: StoreError) -> LockError {
        error.for_key(self.key.name())
    }
}

/// The future's value; `None` if the deadline came first. An `async fn` would hold the future twice.
fn before<F: Future>(deadline: Option<Instant>, future: F) -> impl Future<Output = Option<F::Output>> {
    match deadline {
        Some(deadline) => Either::Left(timeout_at(deadline, future).map(Result::ok)),
        None => Either::Right(future.map(Some)),
    }
}
