//! One acquisition under way, that is seen to its end whatever becomes of its caller.

use std::{future::poll_fn, sync::Arc};

use tokio::time::Instant;

use crate::{
    error::{StoreError, StoreErrorKind},
    held::Held,
    keeper::{Errand, Keeper, Leftover},
    key::Key,
    lease::{Moment, OwnerToken},
    options::Options,
    store::{Acquired, StoreFuture},
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
}

/// What one attempt came to.
pub(crate) enum Attempt {
    Granted(Arc<Held>),
    Held { remaining: Option<std::time::Duration> },
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
        }
    }

    /// Asks once; once more when the connection broke under the question, which an idle connection does at its first use.
    pub(crate) async fn attempt(&mut self) -> Result<Attempt, StoreError> {
        match self.ask().await {
            Err(error) if error.kind() == StoreErrorKind::Disconnected => self.ask().await,
            answer => answer,
        }
    }

    async fn ask(&mut self) -> Result<Attempt, StoreError> {
        self.keeper.core().open()?;
        let mut sent = Moment::now();
        let keeper = self.keeper;
        let store = &keeper.core().store;
        let pending =
            self.pending.insert(store.acquire(self.key, &self.owner, self.options.ttl, self.options.fenced));
        let answer = poll_fn(|cx| pending.as_mut().poll(cx)).await;
        self.pending = None;
        let fence = match answer {
            Ok(Acquired::Granted { fence }) => fence,
            Ok(Acquired::Held { remaining }) => return Ok(Attempt::Held { remaining }),
            Err(error) => {
                self.unsettled |= error.outcome_unknown();
                return Err(error);
            }
        };
        self.granted = true;
        if self.unsettled {
            // The grant may be an earlier attempt's, whose ttl runs since then. A renewal starts it anew.
            sent = Moment::now();
            if !store.renew(self.key, &self.owner, self.options.ttl).await? {
                self.granted = false;
                return Ok(Attempt::Held { remaining: None });
            }
        }
        let now = Moment::now();
        let held = Held::new(self.key.clone(), self.owner, fence, self.options, sent, now, self.unsettled);
        if held.status(now).is_err() {
            let detail = format!(
                "the grant took {:?} to arrive, and a ttl of {:?} leaves nothing of that; raise the ttl",
                now.since(sent),
                self.options.ttl
            );
            return Err(StoreError::new(StoreErrorKind::TooLate, detail));
        }
        let held = Arc::new(held);
        keeper.keep(&held, sent);
        // A shutdown that began meanwhile has not seen this lease.
        if let Err(error) = keeper.core().open() {
            keeper.forget(&held);
            return Err(error);
        }
        (self.granted, self.unsettled) = (false, false);
        Ok(Attempt::Granted(held))
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
            Some(pending) => Errand::Acquire { pending, lease },
            None if self.granted || self.unsettled => Errand::Release(lease),
            None => return,
        };
        self.keeper.run(errand);
    }
}
