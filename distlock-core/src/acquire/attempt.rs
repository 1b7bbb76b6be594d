//! One acquisition under way, that is seen to its end whatever becomes of its caller.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    clock::Moment,
    error::{StoreError, StoreErrorKind},
    keeper::{Cleanup, Keeper},
    key::Key,
    lease::Lease,
    options::Options,
    shared::commands::PendingRelease,
    store::{Acquired, Enqueue, HandOver, HintFuture, StoreFuture},
    token::{FencingToken, OwnerToken},
};

/// One acquisition under way.
///
/// Dropped with an answer outstanding or an outcome unknown, it leaves the rest to the keeper: the same future is polled on, so
/// that the release can never overtake its own acquire.
pub(crate) struct AcquireOp<'a> {
    keeper: &'a Keeper,
    key: &'a Key,
    options: &'a Options,
    state: AcquireState,
}

/// An owner token, and what is known of the attempts made with it.
pub(crate) struct AcquireState {
    owner: OwnerToken,
    /// The attempt under way, and when it was sent.
    pending: Option<(StoreFuture<Acquired>, Moment)>,
    /// An attempt failed without an answer: it may have been granted, or may yet be.
    in_doubt: bool,
    /// A grant that nobody has taken over yet.
    granted: bool,
    /// The owner stands in the store's line.
    in_line: bool,
}

impl AcquireState {
    fn new(owner: OwnerToken) -> Self {
        Self { owner, pending: None, in_doubt: false, granted: false, in_line: false }
    }

    /// A lease that was granted.
    pub(crate) fn granted(owner: OwnerToken) -> Self {
        Self { granted: true, ..Self::new(owner) }
    }

    /// What is left to do when it is given up.
    pub(crate) fn cleanup(&mut self, key: &Key, ttl: Duration) -> Option<Cleanup> {
        let lease = || PendingRelease {
            key: key.clone(),
            owner: self.owner,
            until: Instant::now() + ttl,
            in_doubt: self.in_doubt,
            keep: None,
        };
        match self.pending.take() {
            Some((pending, _)) => Some(Cleanup::Acquire { pending, lease: lease(), in_line: self.in_line }),
            None if self.granted || self.in_doubt || self.in_line => Some(Cleanup::Release(lease())),
            None => None,
        }
    }
}

/// How a key is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// Once.
    Once,
    /// By somebody who is going to wait, and may have seen that others have the key.
    Waiting(Enqueue),
}

/// What one attempt came to.
pub(crate) enum Outcome {
    Granted(Arc<Lease>),
    Busy { remaining: Option<Duration> },
}

impl<'a> AcquireOp<'a> {
    pub(crate) fn new(keeper: &'a Keeper, key: &'a Key, options: &'a Options) -> Self {
        Self::with(keeper, key, options, AcquireState::new(OwnerToken::random()))
    }

    /// Goes on with somebody else's state.
    pub(crate) fn with(keeper: &'a Keeper, key: &'a Key, options: &'a Options, state: AcquireState) -> Self {
        Self { keeper, key, options, state }
    }

    pub(crate) fn owner(&self) -> OwnerToken {
        self.state.owner
    }

    /// Listens for what the store tells the owner, who has not asked; false when it would not.
    pub(crate) fn register_waiter(&mut self) -> bool {
        self.state.in_line = self.keeper.shared().store.register_waiter(self.key, &self.state.owner);
        self.state.in_line
    }

    /// The state, for somebody else to go on with it; `None` when there is nothing to go on with.
    pub(crate) fn give_up(&mut self) -> Option<AcquireState> {
        let AcquireState { pending, in_doubt, granted, in_line, .. } = &self.state;
        let worth_it = !granted && (pending.is_some() || *in_doubt || *in_line);
        worth_it.then(|| std::mem::replace(&mut self.state, AcquireState::new(OwnerToken::random())))
    }

    /// Whether an answer is outstanding.
    pub(crate) fn is_asking(&self) -> bool {
        self.state.pending.is_some()
    }

    /// Asks once; once more when the connection broke under the question, which an idle connection does at its first use.
    pub(crate) async fn attempt(&mut self, how: Mode) -> Result<Outcome, StoreError> {
        match self.ask(how).await {
            Err(error) if error.kind() == StoreErrorKind::Disconnected => self.ask(how).await,
            answer => answer,
        }
    }

    /// Asks, or goes on waiting for the answer to what was asked before.
    async fn ask(&mut self, how: Mode) -> Result<Outcome, StoreError> {
        let store = &self.keeper.shared().store;
        let Options { ttl, fenced, .. } = *self.options;
        let state = &mut self.state;
        let (pending, sent) = match &mut state.pending {
            Some(attempt) => attempt,
            none => {
                self.keeper.shared().ensure_running()?;
                let sent = Moment::now();
                let pending = match how {
                    Mode::Once => store.acquire(self.key, &state.owner, ttl, fenced),
                    Mode::Waiting(enqueue) => {
                        // Until we know better.
                        state.in_line = true;
                        store.acquire_or_enqueue(self.key, &state.owner, ttl, fenced, enqueue)
                    }
                };
                none.insert((pending, sent))
            }
        };
        let mut sent = *sent;
        let answer = poll_fn(|cx| pending.as_mut().poll(cx)).await;
        state.pending = None;
        let fence = match answer {
            Ok(Acquired::Granted { fence }) => fence,
            Ok(Acquired::Busy { remaining }) => {
                self.was_refused();
                return Ok(Outcome::Busy { remaining });
            }
            Err(error) => {
                self.state.in_doubt |= error.outcome_unknown();
                self.was_refused();
                return Err(error);
            }
        };
        self.state.granted = true;
        if self.state.in_doubt {
            // The grant may be an earlier attempt's, whose ttl runs since then. A renewal starts it anew.
            sent = Moment::now();
            if !store.renew(self.key, &self.state.owner, ttl).await? {
                self.state.granted = false;
                return Ok(Outcome::Busy { remaining: None });
            }
        }
        if let Some(held) = self.take(fence, (sent, ttl))? {
            return Ok(Outcome::Granted(held));
        }
        let late = Moment::now().since(sent);
        let detail = format!(
            "the grant took {late:?} to arrive, and a ttl of {ttl:?} leaves nothing of that; raise the ttl"
        );
        Err(StoreError::new(StoreErrorKind::TooLate, detail))
    }

    /// Takes a fresh owner token where nothing is left of the one before: on a quorum, what an attempt that failed has sent may yet arrive in
    /// the midst of the next one.
    fn was_refused(&mut self) {
        self.state.in_line = self.keeper.shared().store.is_queued(&self.state.owner);
        if !self.state.in_line && !self.state.in_doubt {
            self.state.owner = OwnerToken::random();
        }
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.state.in_line
    }

    /// What the store tells a waiter of its own accord.
    pub(crate) fn hint(&self) -> HintFuture {
        self.keeper.shared().store.hint(self.key, &self.state.owner)
    }

    /// A lease that was handed over; `None` when the news is so old that nothing of it may be left, and the store has to be asked.
    pub(crate) fn accept(&mut self, lease: HandOver) -> Result<Option<Arc<Lease>>, StoreError> {
        self.state.granted = true;
        self.take(lease.fence, (lease.since, lease.lasts))
    }

    /// Gives a grant to the keeper, if it is still good for something.
    fn take(
        &mut self,
        fence: Option<FencingToken>,
        term: (Moment, Duration),
    ) -> Result<Option<Arc<Lease>>, StoreError> {
        let now = Moment::now();
        let held = Lease::new(
            self.key.clone(),
            self.state.owner,
            fence,
            self.options,
            term,
            self.state.in_doubt,
            now,
        );
        if held.status(now).is_err() {
            return Ok(None);
        }
        let held = Arc::new(held);
        self.keeper.track(&held, term.0);
        // A shutdown that began meanwhile has not seen this lease.
        if let Err(error) = self.keeper.shared().ensure_running() {
            self.keeper.untrack(&held);
            return Err(error);
        }
        (self.state.granted, self.state.in_doubt, self.state.in_line) = (false, false, false);
        Ok(Some(held))
    }
}

impl Drop for AcquireOp<'_> {
    fn drop(&mut self) {
        if let Some(cleanup) = self.state.cleanup(self.key, self.options.ttl) {
            self.keeper.clean_up(cleanup);
        }
    }
}
