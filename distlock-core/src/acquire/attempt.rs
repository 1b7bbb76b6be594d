//! One acquisition under way, that is seen to its end whatever becomes of its caller.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    clock::Moment,
    error::{StoreError, StoreErrorKind},
    keeper::{Errand, Keeper},
    key::Key,
    lease::Held,
    options::Options,
    shared::commands::Leftover,
    store::{Acquired, HandOver, HintFuture, StoreFuture, Waits},
    token::{FencingToken, OwnerToken},
};

/// One acquisition under way.
///
/// Dropped with an answer outstanding or an outcome unknown, it leaves the rest to the keeper: the same future is polled on, so
/// that the release can never overtake its own acquire.
pub(crate) struct Bid<'a> {
    keeper: &'a Keeper,
    key: &'a Key,
    options: &'a Options,
    claim: Claim,
}

/// An owner token, and what is known of the attempts made with it.
pub(crate) struct Claim {
    owner: OwnerToken,
    /// The attempt under way, and when it was sent.
    pending: Option<(StoreFuture<Acquired>, Moment)>,
    /// An attempt failed without an answer: it may have been granted, or may yet be.
    unsettled: bool,
    /// A grant that nobody has taken over yet.
    granted: bool,
    /// The owner stands in the store's line.
    in_line: bool,
}

impl Claim {
    fn new(owner: OwnerToken) -> Self {
        Self { owner, pending: None, unsettled: false, granted: false, in_line: false }
    }

    /// A lease that was granted.
    pub(crate) fn granted(owner: OwnerToken) -> Self {
        Self { granted: true, ..Self::new(owner) }
    }

    /// What is left to do when it is given up.
    pub(crate) fn errand(&mut self, key: &Key, ttl: Duration) -> Option<Errand> {
        let lease = || Leftover {
            key: key.clone(),
            owner: self.owner,
            until: Instant::now() + ttl,
            unsettled: self.unsettled,
            keep: None,
        };
        match self.pending.take() {
            Some((pending, _)) => Some(Errand::Acquire { pending, lease: lease(), in_line: self.in_line }),
            None if self.granted || self.unsettled || self.in_line => Some(Errand::Release(lease())),
            None => None,
        }
    }
}

/// How a key is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    /// Once.
    Once,
    /// By somebody who is going to wait, and may have seen that others have the key.
    Waiting(Waits),
}

/// What one attempt came to.
pub(crate) enum Attempt {
    Granted(Arc<Held>),
    Held { remaining: Option<Duration> },
}

impl<'a> Bid<'a> {
    pub(crate) fn new(keeper: &'a Keeper, key: &'a Key, options: &'a Options) -> Self {
        Self::with(keeper, key, options, Claim::new(OwnerToken::random()))
    }

    /// Goes on with somebody else's claim.
    pub(crate) fn with(keeper: &'a Keeper, key: &'a Key, options: &'a Options, claim: Claim) -> Self {
        Self { keeper, key, options, claim }
    }

    pub(crate) fn owner(&self) -> OwnerToken {
        self.claim.owner
    }

    /// Listens for what the store tells the owner, who has not asked; false when it would not.
    pub(crate) fn listen(&mut self) -> bool {
        self.claim.in_line = self.keeper.core().store.listen(self.key, &self.claim.owner);
        self.claim.in_line
    }

    /// The claim, for somebody else to go on with it; `None` when there is nothing to go on with.
    pub(crate) fn give_up(&mut self) -> Option<Claim> {
        let Claim { pending, unsettled, granted, in_line, .. } = &self.claim;
        let worth_it = !granted && (pending.is_some() || *unsettled || *in_line);
        worth_it.then(|| std::mem::replace(&mut self.claim, Claim::new(OwnerToken::random())))
    }

    /// Whether an answer is outstanding.
    pub(crate) fn is_asking(&self) -> bool {
        self.claim.pending.is_some()
    }

    /// Asks once; once more when the connection broke under the question, which an idle connection does at its first use.
    pub(crate) async fn attempt(&mut self, how: Ask) -> Result<Attempt, StoreError> {
        match self.ask(how).await {
            Err(error) if error.kind() == StoreErrorKind::Disconnected => self.ask(how).await,
            answer => answer,
        }
    }

    /// Asks, or goes on waiting for the answer to what was asked before.
    async fn ask(&mut self, how: Ask) -> Result<Attempt, StoreError> {
        let store = &self.keeper.core().store;
        let Options { ttl, fenced, .. } = *self.options;
        let claim = &mut self.claim;
        let (pending, sent) = match &mut claim.pending {
            Some(attempt) => attempt,
            none => {
                self.keeper.core().open()?;
                let sent = Moment::now();
                let pending = match how {
                    Ask::Once => store.acquire(self.key, &claim.owner, ttl, fenced),
                    Ask::Waiting(waits) => {
                        // Until we know better.
                        claim.in_line = true;
                        store.stand_in_line(self.key, &claim.owner, ttl, fenced, waits)
                    }
                };
                none.insert((pending, sent))
            }
        };
        let mut sent = *sent;
        let answer = poll_fn(|cx| pending.as_mut().poll(cx)).await;
        claim.pending = None;
        let fence = match answer {
            Ok(Acquired::Granted { fence }) => fence,
            Ok(Acquired::Held { remaining }) => {
                self.was_refused();
                return Ok(Attempt::Held { remaining });
            }
            Err(error) => {
                self.claim.unsettled |= error.outcome_unknown();
                self.was_refused();
                return Err(error);
            }
        };
        self.claim.granted = true;
        if self.claim.unsettled {
            // The grant may be an earlier attempt's, whose ttl runs since then. A renewal starts it anew.
            sent = Moment::now();
            if !store.renew(self.key, &self.claim.owner, ttl).await? {
                self.claim.granted = false;
                return Ok(Attempt::Held { remaining: None });
            }
        }
        if let Some(held) = self.take(fence, (sent, ttl))? {
            return Ok(Attempt::Granted(held));
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
        self.claim.in_line = self.keeper.core().store.is_in_line(&self.claim.owner);
        if !self.claim.in_line && !self.claim.unsettled {
            self.claim.owner = OwnerToken::random();
        }
    }

    pub(crate) fn is_in_line(&self) -> bool {
        self.claim.in_line
    }

    /// What the store tells a waiter of its own accord.
    pub(crate) fn hint(&self) -> HintFuture {
        self.keeper.core().store.hint(self.key, &self.claim.owner)
    }

    /// A lease that was handed over; `None` when the news is so old that nothing of it may be left, and the store has to be asked.
    pub(crate) fn accept(&mut self, lease: HandOver) -> Result<Option<Arc<Held>>, StoreError> {
        self.claim.granted = true;
        self.take(lease.fence, (lease.since, lease.lasts))
    }

    /// Gives a grant to the keeper, if it is still good for something.
    fn take(
        &mut self,
        fence: Option<FencingToken>,
        term: (Moment, Duration),
    ) -> Result<Option<Arc<Held>>, StoreError> {
        let now = Moment::now();
        let held = Held::new(
            self.key.clone(),
            self.claim.owner,
            fence,
            self.options,
            term,
            self.claim.unsettled,
            now,
        );
        if held.status(now).is_err() {
            return Ok(None);
        }
        let held = Arc::new(held);
        self.keeper.keep(&held, term.0);
        // A shutdown that began meanwhile has not seen this lease.
        if let Err(error) = self.keeper.core().open() {
            self.keeper.forget(&held);
            return Err(error);
        }
        (self.claim.granted, self.claim.unsettled, self.claim.in_line) = (false, false, false);
        Ok(Some(held))
    }
}

impl Drop for Bid<'_> {
    fn drop(&mut self) {
        if let Some(errand) = self.claim.errand(self.key, self.options.ttl) {
            self.keeper.run(errand);
        }
    }
}
