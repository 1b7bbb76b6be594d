//! The held lock.

use std::{
    fmt,
    future::{poll_fn, ready},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::sync::futures::Notified;

use crate::{
    clock::Moment,
    error::{LockError, LostReason, StoreError, StoreErrorKind},
    guard::call_chain::{Entered, Frame},
    keeper::{Cleanup, Keeper},
    lease::{BodyCount, Lease},
    options::{OnLost, Release},
    store::StoreFuture,
    token::FencingToken,
};

pub(crate) mod call_chain;

/// A held lock: a lease that its manager's keeper renews every third of its ttl, until it is released, dropped or lost.
///
/// While [`is_held`](Self::is_held), nobody else is granted the key, as long as the server keeps its data and this host's clock runs
/// no more than a hundredth of the ttl and 2 ms slower than the server's. It does **not** keep late writes of a stopped
/// process away from a resource: a lease is not a fence. Where that matters, ask for a [fencing token](Self::fencing_token)
/// and have the resource check it.
///
/// Dropping it releases the lock in the background, without blocking and from any thread; with
/// [`release`](Self::release) the key is free on the server when the call returns. Where the runtime
/// is gone, the ttl is what ends the lease.
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct LockGuard {
    held: Arc<Lease>,
    keeper: Keeper,
}

impl LockGuard {
    pub(crate) fn new(held: Arc<Lease>, keeper: Keeper) -> Self {
        Self { held, keeper }
    }

    /// The key as the caller wrote it, without the manager's namespace.
    pub fn key(&self) -> &str {
        self.held.key.name()
    }

    /// The fencing token of this grant; `None` unless [`fenced`](crate::LockRequest::fenced) asked for one.
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.held.fence
    }

    /// What is left of the lease, less the allowance for clock drift, if no renewal follows; zero when it is lost.
    pub fn remaining(&self) -> Duration {
        self.held.status(Moment::now()).unwrap_or_default()
    }

    /// Whether the lease is still valid, by this host's monotonic clock and all that the store has said.
    pub fn is_held(&self) -> bool {
        self.held.status(Moment::now()).is_ok()
    }

    /// Enqueue until the lease is lost, and says how; at once when it is lost already. It does not end while the lease is renewed.
    ///
    /// # Cancel safety
    /// It only listens: dropping it changes nothing.
    pub async fn lost(&self) -> LostReason {
        loop {
            let ended = self.held.ended();
            if let Err(reason) = self.held.status(Moment::now()) {
                return reason;
            }
            ended.await;
        }
    }

    /// Renews the lease now, for its whole ttl from now. The keeper does it by itself; this is for a lease with
    /// [`renew(false)`](crate::LockRequest::renew), or before a step that needs a known time.
    ///
    /// # Errors
    /// [`LockError::Lost`] when the lease has ended, [`LockError::Store`] when the store does not confirm: the lease then lasts as
    /// long as it did before.
    ///
    /// # Cancel safety
    /// Dropped midway, the renewal may or may not happen; the lease stays valid for as long as it was.
    pub async fn renew(&self) -> Result<(), LockError> {
        let held = &self.held;
        let sent = Moment::now();
        held.check()?;
        let renewed = self.keeper.shared().renew_once(held).await;
        match renewed {
            Ok(true) => {
                held.confirm(sent, Moment::now());
                held.check()?;
                self.keeper.track(held, sent);
                Ok(())
            }
            Ok(false) => {
                held.lose(LostReason::NotOwner);
                Err(held.lost_error(LostReason::NotOwner))
            }
            Err(error) => Err(error.for_key(held.key.name())),
        }
    }

    /// Runs `body` under this lock, once: it is dropped at its next await when the lease is lost, or runs to its end with
    /// [`OnLost::Finish`]. It does not release.
    ///
    /// # Errors
    /// [`LockError::Lost`] when the lease ended before the body did, also when the body blocked its thread past the
    /// lease and then returned. Never with [`OnLost::Finish`].
    ///
    /// # Cancel safety
    /// Dropping it drops the body; the lock stays with the guard.
    pub fn run<F: Future>(&self, body: F) -> impl Future<Output = Result<F::Output, LockError>> {
        let turns = PollChecks {
            ended: self.held.ended(),
            link: Frame::new(self.keeper.shared(), &self.held),
            _inside: self.held.enter(),
            held: &self.held,
        };
        LockedBody { body, turns }
    }

    /// Releases the lock, and waits until the store has confirmed it; or leaves it to a task of this process that waits for it without being
    /// [fair](crate::LockRequest::fair).
    ///
    /// # Errors
    /// [`LockError::Lost`] when the lease had ended before: somebody else may have been in. [`LockError::Store`] when the store did not
    /// confirm: the release is then tried again in the background until the ttl is over.
    ///
    /// # Cancel safety
    /// Dropped midway, the release goes on in the background.
    pub async fn release(self) -> Result<(), LockError> {
        let shared = Arc::clone(self.keeper.shared());
        let held = Arc::clone(&self.held);
        self.keeper.untrack(&held);
        if self.hand_over_locally() {
            return Ok(());
        }
        let now = Moment::now();
        let status = held.status(now);
        let keep = held.to_keep(now);
        let mut releasing = Releasing::new(&self, keep);
        let answer = match releasing.answer().await {
            Err(error) if error.kind() == StoreErrorKind::Disconnected => {
                shared.release_again(&held.key, &held.owner, keep).await
            }
            answer => answer.map(Some),
        };
        // An acquire that may yet execute is left to `drop`, whose release is repeated.
        held.released.store(answer.is_ok() && !held.in_doubt, Ordering::Release);
        if answer.is_ok() {
            shared.waiting.released(&held.key);
        }
        match (answer, status) {
            (Ok(_), Err(reason)) => Err(held.lost_error(reason)),
            (Ok(Some(true) | None), Ok(_)) => Ok(()),
            (Ok(Some(false)), Ok(_)) => Err(held.lost_error(LostReason::NotOwner)),
            (Err(error), _) => Err(error.for_key(held.key.name())),
        }
    }

    /// Releases the lock after its body: nothing that goes wrong here may replace the body's value.
    #[doc(hidden)]
    pub async fn finish(self) {
        // A lease that ran out is left to the keeper: nobody is to wait for a server that may well be the reason.
        if !matches!(self.held.status(Moment::now()), Ok(_) | Err(LostReason::MaxHold)) {
            return;
        }
        if self.held.release == Release::Background {
            return self.release_in_background().await;
        }
        let key = self.held.key.clone();
        let shared = Arc::clone(self.keeper.shared());
        match self.release().await {
            Ok(()) | Err(LockError::Lost { reason: LostReason::MaxHold, .. }) => {}
            // The keeper goes on trying, and counts it when it gives up.
            Err(error @ LockError::Store { .. }) => {
                tracing::warn!(key = key.name(), %error, "release failed, trying again");
            }
            Err(error) => shared.count_failed_release(&key, &error),
        }
    }
}

impl LockGuard {
    /// Leaves the lease to a task of this process that waits for it and takes it as it is.
    fn hand_over_locally(&self) -> bool {
        let (held, shared) = (&self.held, self.keeper.shared());
        let local_hand_over =
            || shared.ensure_running().ok().and_then(|()| held.local_hand_over(Moment::now()));
        let left = shared.waiting.hand_over_locally(&held.key, held.ttl, local_hand_over);
        held.released.fetch_or(left, Ordering::AcqRel);
        left
    }

    /// Sends the release, and leaves its answer to the keeper.
    async fn release_in_background(self) {
        self.keeper.untrack(&self.held);
        if self.hand_over_locally() {
            return;
        }
        let mut releasing = Releasing::new(&self, self.held.to_keep(Moment::now()));
        // The first poll sends it, in this task, so that nothing later overtakes it.
        if let Poll::Ready(answer) = poll_fn(|cx| Poll::Ready(releasing.poll(cx))).await {
            releasing.pending = Some(Box::pin(ready(answer)));
        }
    }
}

/// A release under way; dropped without an answer, it goes on in the background.
struct Releasing<'a> {
    guard: &'a LockGuard,
    pending: Option<StoreFuture<bool>>,
}

impl<'a> Releasing<'a> {
    fn new(guard: &'a LockGuard, keep: Option<Duration>) -> Self {
        let Lease { key, owner, .. } = &*guard.held;
        Self { guard, pending: Some(guard.keeper.shared().send_release(key, owner, keep)) }
    }

    async fn answer(&mut self) -> Result<bool, StoreError> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, StoreError>> {
        let Some(pending) = &mut self.pending else { return Poll::Pending };
        let answer = pending.as_mut().poll(cx);
        if answer.is_ready() {
            self.pending = None;
        }
        answer
    }
}

impl Drop for Releasing<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            let LockGuard { held, keeper } = self.guard;
            held.released.store(true, Ordering::Release);
            keeper.clean_up(Cleanup::Releasing { pending, lease: held.pending_release(Moment::now()) });
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let held = &self.held;
        let ended = held.released.load(Ordering::Acquire) || {
            self.keeper.untrack(held);
            self.hand_over_locally()
        };
        // For a body's call chain that still has it.
        held.lose(LostReason::Expired);
        if !ended {
            self.keeper.clean_up(Cleanup::Release(held.pending_release(Moment::now())));
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("key", &self.key())
            .field("remaining", &self.remaining())
            .field("fencing_token", &self.fencing_token())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// A body that is polled only while its lease is valid. What is generic over the body is compiled for every locked function: all else
    /// is in its turns.
    struct LockedBody<'a, F> {
        #[pin]
        body: F,
        // After the body, so that it is dropped after it.
        #[pin]
        turns: PollChecks<'a>,
    }
}

impl<F: Future> Future for LockedBody<'_, F> {
    type Output = Result<F::Output, LockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let turn = this.turns.begin()?;
        let polled = this.body.poll(cx);
        drop(turn);
        this.turns.end(polled.is_pending().then_some(cx))?;
        polled.map(Ok)
    }
}

pin_project! {
    /// The polls of a body.
    struct PollChecks<'a> {
        #[pin]
        ended: Notified<'a>,
        link: Arc<Frame>,
        _inside: BodyCount<'a>,
        held: &'a Lease,
    }
}

impl PollChecks<'_> {
    /// Before a poll, which the chain is told of until the value is dropped.
    fn begin(&self) -> Result<Entered, LockError> {
        // The deadline is read before each poll: a process that was stopped past it must not go on.
        self.check()?;
        Ok(self.link.enter())
    }

    /// After a poll: a body that blocked its thread past the lease did not run alone. One that is to be polled again, with the context, is
    /// woken by a loss.
    fn end(mut self: Pin<&mut Self>, pending: Option<&mut Context<'_>>) -> Result<(), LockError> {
        if let Some(cx) = pending
            && self.held.on_lost == OnLost::Cancel
        {
            // Only its waker matters, the status says the rest: read after, so that a loss is either seen here or wakes us.
            let _ = self.as_mut().project().ended.poll(cx);
        }
        self.check()
    }

    fn check(&self) -> Result<(), LockError> {
        if self.held.on_lost == OnLost::Cancel { self.held.check() } else { Ok(()) }
    }
}
