//! One acquire, which is seen to its end even if its caller goes away.

use std::{
    future::{poll_fn, ready},
    sync::Arc,
    task::Poll,
};

use tokio::task::yield_now;

use crate::{
    clock::Moment,
    error::{StoreError, StoreErrorKind},
    guard::call_chain,
    keeper::Keeper,
    key::Key,
    lease::{AcquireState, Grant, Lease, PendingAcquire, Term},
    options::Options,
    shared::{Phase, Shared},
    store::{Acquired, Enqueue, HandOver, HintFuture, retry::Resending},
    token::{FencingToken, OwnerToken},
    wait_queue::SeenHolder,
};

/// One acquire for a call.
///
/// If it is dropped with an answer outstanding, the keeper polls the same future to its end, so that the
/// release cannot overtake its own acquire. If the outcome is unknown or a grant is left, the keeper releases
/// the key.
pub(super) struct AcquireOp<'a> {
    keeper: &'a Keeper,
    key: &'a Key,
    options: &'a Options,
    state: AcquireState,
}

/// How a key is asked for.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    /// Once, by a caller that does not wait.
    Once,
    /// By a caller that waits if the key is held.
    OrEnqueue(Enqueue),
}

/// The result of one acquire.
pub(super) enum Outcome {
    Granted(Arc<Lease>),
    Busy(SeenHolder),
}

impl<'a> AcquireOp<'a> {
    /// With a fresh owner token.
    pub(super) fn new(keeper: &'a Keeper, key: &'a Key, options: &'a Options) -> Self {
        let owner = keeper.shared().draw_owner();
        Self::resume(keeper, key, options, AcquireState::new(owner))
    }

    /// Goes on with the state of an earlier one.
    pub(super) fn resume(
        keeper: &'a Keeper,
        key: &'a Key,
        options: &'a Options,
        state: AcquireState,
    ) -> Self {
        Self { keeper, key, options, state }
    }

    pub(super) fn owner(&self) -> OwnerToken {
        self.state.owner
    }

    /// Whether an answer is outstanding.
    pub(super) fn is_pending(&self) -> bool {
        self.state.pending.is_some()
    }

    /// Whether the owner is in the store's wait queue.
    pub(super) fn is_queued(&self) -> bool {
        self.state.queued
    }

    /// Registers the owner before its first acquire, so that the store can tell it of a hand-over. Answers
    /// false if the store cannot.
    pub(super) fn register_waiter(&mut self) -> bool {
        self.state.queued = self.keeper.shared().store.register_waiter(self.key, &self.state.owner);
        self.state.queued
    }

    /// What the store tells the owner without being asked.
    pub(super) fn hint(&self) -> HintFuture {
        self.keeper.shared().store.hint(self.key, &self.state.owner)
    }

    /// Takes the state out for another waiter to go on with it; `None` if there is nothing to go on with.
    pub(super) fn abandon(&mut self) -> Option<AcquireState> {
        let shared = self.keeper.shared();
        self.state
            .is_worth_resuming()
            .then(|| std::mem::replace(&mut self.state, AcquireState::new(shared.draw_owner())))
    }

    /// Asks the store, or goes on waiting for the answer to what was asked before.
    ///
    /// `now` was read before this call. A lease that is granted counts from it.
    ///
    /// # Cancel safety
    /// If the future is dropped, one acquire may be unanswered; it may have been sent twice after a broken
    /// connection. The next call or the keeper waits for its answer. A grant whose renewal was dropped is
    /// released.
    pub(super) async fn attempt(&mut self, mode: Mode, now: Moment) -> Result<Outcome, StoreError> {
        let (shared, key, owner) = (self.keeper.shared(), self.key, self.state.owner);
        let Options { ttl, fenced, .. } = *self.options;
        let send = || match mode {
            Mode::Once => shared.store.acquire(key, &owner, ttl, fenced),
            Mode::OrEnqueue(enqueue) => shared.store.acquire_or_enqueue(key, &owner, ttl, fenced, enqueue),
        };
        let PendingAcquire { command, sent } = match &mut self.state.pending {
            Some(pending) => pending,
            none => {
                admit(shared)?;
                // From the sending on, the owner may be in the store's queue. The answer says whether it is.
                self.state.queued |= matches!(mode, Mode::OrEnqueue(_));
                none.insert(PendingAcquire { sent: now, command: Resending::new(send()) })
            }
        };
        let answer = poll_fn(|cx| command.poll(cx, send)).await;
        let (sent, resent) = (*sent, command.was_resent());
        self.state.pending = None;
        self.state.in_doubt |= resent || answer.as_ref().is_err_and(StoreError::outcome_unknown);
        match answer {
            Ok(Acquired::Granted { fence }) => {
                self.state.granted = true;
                self.confirm_grant(fence, sent).await
            }
            Ok(Acquired::Busy { remaining, holder }) => {
                // A hand-over that was heard of too late has gone to another waiter.
                self.state.granted = false;
                self.note_refused();
                Ok(Outcome::Busy(SeenHolder { remaining, holder }))
            }
            Err(error) => {
                self.note_refused();
                Err(error)
            }
        }
    }

    /// Turns a grant into a lease.
    async fn confirm_grant(
        &mut self,
        fence: Option<FencingToken>,
        mut sent: Moment,
    ) -> Result<Outcome, StoreError> {
        let ttl = self.options.ttl;
        if self.state.in_doubt {
            // The grant may be an earlier acquire's, whose ttl has run since then. A renewal starts it anew.
            sent = Moment::now();
            if !self.keeper.shared().store.renew(self.key, &self.state.owner, ttl).await? {
                self.state.granted = false;
                return Ok(Outcome::Busy(SeenHolder::default()));
            }
        }
        if let Some(lease) = self.begin_lease(HandOver::new(sent, ttl).with_fence(fence))? {
            return Ok(Outcome::Granted(lease));
        }
        let late = Moment::now().since(sent);
        let detail = format!(
            "the grant took {late:?} to arrive, and a ttl of {ttl:?} leaves nothing of that; raise the ttl"
        );
        Err(StoreError::new(StoreErrorKind::TooLate, detail))
    }

    /// Takes a lease that was handed over to the owner.
    ///
    /// `None` if the message is so old that nothing of the lease may be left. The store has to be asked then.
    ///
    /// # Cancel safety
    /// If the future is dropped, the lease is released.
    pub(super) async fn accept(&mut self, lease: HandOver) -> Result<Option<Arc<Lease>>, StoreError> {
        self.state.granted = true;
        if lease.claim_within.is_none() {
            return self.begin_lease(lease);
        }
        let sent = Moment::now();
        let mut claim =
            self.keeper.shared().store.confirm_hand_over(self.key, &self.state.owner, self.options.ttl);
        let answer = poll_fn(|cx| Poll::Ready(claim.as_mut().poll(cx))).await;
        if answer.is_pending() {
            // The connection gets its turn to send the claim before a body may block this thread.
            yield_now().await;
        }
        let Some(begun) = self.begin_lease(lease)? else { return Ok(None) };
        let claim = match answer {
            Poll::Ready(answer) => Box::pin(ready(answer)),
            Poll::Pending => claim,
        };
        self.keeper.finish_claim(&begun, sent, claim);
        Ok(Some(begun))
    }

    /// Gives a grant to the keeper as a lease; `None` if nothing of it is left.
    fn begin_lease(&mut self, granted: HandOver) -> Result<Option<Arc<Lease>>, StoreError> {
        let AcquireState { owner, in_doubt, .. } = self.state;
        let HandOver { fence, since: sent, lasts, claim_within } = granted;
        let now = Moment::now();
        let grant = Grant { owner, fence, term: Term { sent, lasts, claim_within }, in_doubt };
        let lease = Arc::new(Lease::new(self.key.clone(), self.options, &grant, now));
        if lease.status(now).is_err() {
            return Ok(None);
        }
        self.keeper.track(&lease, sent);
        // A shutdown that began meanwhile has not seen this lease.
        if let Err(error) = self.keeper.shared().ensure_not_shut_down() {
            self.keeper.untrack(&lease);
            return Err(error);
        }
        (self.state.granted, self.state.in_doubt, self.state.queued) = (false, false, false);
        #[cfg(feature = "testing")]
        self.keeper.shared().test_leases.add(&lease);
        Ok(Some(lease))
    }

    /// Takes a fresh owner token unless the old one is queued or in doubt.
    ///
    /// On a quorum, commands of the failed acquire may still arrive, and must not touch the next one.
    fn note_refused(&mut self) {
        self.state.queued = self.keeper.shared().store.is_queued(&self.state.owner);
        if !self.state.queued && !self.state.in_doubt {
            self.state.owner = self.keeper.shared().draw_owner();
        }
    }
}

impl Drop for AcquireOp<'_> {
    fn drop(&mut self) {
        if let Some(cleanup) = self.state.take_cleanup(self.key, self.options.ttl) {
            self.keeper.clean_up(cleanup);
        }
    }
}

/// Lets a call ask the store.
///
/// While the manager is drained, calls of its locked bodies are let through: such a body could not finish
/// without them.
///
/// # Errors
/// When the manager refuses the call.
pub(super) fn admit(shared: &Arc<Shared>) -> Result<(), StoreError> {
    match shared.phase() {
        Phase::Running => Ok(()),
        Phase::Draining if call_chain::is_inside(shared) => Ok(()),
        Phase::Draining | Phase::ShutDown => Err(StoreError::shut_down()),
    }
}
