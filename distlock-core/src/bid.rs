//! One acquisition under way, that is seen to its end whatever becomes of its caller.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    error::{StoreError, StoreErrorKind},
    held::Held,
    keeper::{Errand, Keeper},
    key::Key,
    lease::{FencingToken, Moment, OwnerToken},
    options::Options,
    release::Leftover,
    store::{Acquired, HandOver, HintFuture, StoreFuture},
};

/// One acquisition: an owner token, and what is known of the attempts made with it.
///
/// Dropped with an answer outstanding or an outcome unknown, it leaves the rest to the keeper: the same future is polled on, so
/// that the release can never overtake its own acquire.
pub(crate) struct Bid<'a> {
    keeper: &'a Keeper,
    key: &'a Key,
    options: &'a Options,
    owner: OwnerToken,
    pending: Option<StoreFuture<Acquired>>,
    /// An attempt failed without an answer: it may have been granted, or may yet be.
    unsettled: bool,
    /// A grant that nobody has taken over yet.
    granted: bool,
    /// The owner stands in the store's line.
    in_line: bool,
}

/// How a key is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    /// Once.
    Once,
    /// By somebody who is going to wait, and may have seen that others have the key.
    Waiting { contended: bool },
}

/// What one attempt came to.
pub(crate) enum Attempt {
    Granted(Arc<Held>),
    Held { remaining: Option<Duration> },
}

impl<'a> Bid<'a> {
    pub(crate) fn new(keeper: &'a Keeper, key: &'a Key, options: &'a Options) -> Self {
        Self {
            keeper,
            key,
            options,
            owner: OwnerToken::random(),
            pending: None,
            unsettled: false,
            granted: false,
            in_line: false,
        }
    }

    /// Asks once; once more when the connection broke under the question, which an idle connection does at its first use.
    pub(crate) async fn attempt(&mut self, how: Ask) -> Result<Attempt, StoreError> {
        match self.ask(how).await {
            Err(error) if error.kind() == StoreErrorKind::Disconnected => self.ask(how).await,
            answer => answer,
        }
    }

    async fn ask(&mut self, how: Ask) -> Result<Attempt, StoreError> {
        self.keeper.core().open()?;
        let mut sent = Moment::now();
        let store = &self.keeper.core().store;
        let Options { ttl, fenced, .. } = *self.options;
        let pending = self.pending.insert(match how {
            Ask::Once => store.acquire(self.key, &self.owner, ttl, fenced),
            Ask::Waiting { contended } => {
                // Until we know better.
                self.in_line = true;
                store.stand_in_line(self.key, &self.owner, ttl, fenced, contended)
            }
        });
        let answer = poll_fn(|cx| pending.as_mut().poll(cx)).await;
        self.pending = None;
        let fence = match answer {
            Ok(Acquired::Granted { fence }) => fence,
            Ok(Acquired::Held { remaining }) => {
                self.was_refused();
                return Ok(Attempt::Held { remaining });
            }
            Err(error) => {
                self.unsettled |= error.outcome_unknown();
                self.was_refused();
                return Err(error);
            }
        };
        self.granted = true;
        if self.unsettled {
            // The grant may be an earlier attempt's, whose ttl runs since then. A renewal starts it anew.
            sent = Moment::now();
            if !store.renew(self.key, &self.owner, ttl).await? {
                self.granted = false;
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
        self.in_line = self.keeper.core().store.is_in_line(&self.owner);
        if !self.in_line && !self.unsettled {
            self.owner = OwnerToken::random();
        }
    }

    pub(crate) fn is_in_line(&self) -> bool {
        self.in_line
    }

    /// What the store tells a waiter of its own accord.
    pub(crate) fn hint(&self) -> HintFuture {
        self.keeper.core().store.hint(self.key, &self.owner)
    }

    /// A lease that was handed over; `None` when the news is so old that nothing of it may be left, and the store has to be asked.
    pub(crate) fn accept(&mut self, lease: HandOver) -> Result<Option<Arc<Held>>, StoreError> {
        self.granted = true;
        self.take(lease.fence, (lease.since, lease.lasts))
    }

    /// Gives a grant to the keeper, if it is still good for something.
    fn take(
        &mut self,
        fence: Option<FencingToken>,
        term: (Moment, Duration),
    ) -> Result<Option<Arc<Held>>, StoreError> {
        let now = Moment::now();
        let held = Held::new(self.key.clone(), self.owner, fence, self.options, term, self.unsettled, now);
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
        (self.granted, self.unsettled, self.in_line) = (false, false, false);
        Ok(Some(held))
    }
}

impl Drop for Bid<'_> {
    fn drop(&mut self) {
        let lease = Leftover {
            key: self.key.clone(),
            owner: self.owner,
            until: Instant::now() + self.options.ttl,
            unsettled: self.unsettled,
            keep: None,
        };
        let errand = match self.pending.take() {
            Some(pending) => Errand::Acquire { pending, lease, in_line: self.in_line },
            None if self.granted || self.unsettled || self.in_line => Errand::Release(lease),
            None => return,
        };
        self.keeper.run(errand);
    }
}
