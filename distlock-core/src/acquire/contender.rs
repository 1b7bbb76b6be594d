//! The one of a key's waiters in this process who talks to the store.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    acquire::attempt::{Ask, Attempt, Bid, Claim},
    error::StoreError,
    lease::Held,
    options::Options,
    store::{Hint, Waits},
    wait_queue::{Backoff, Bequest, Left, Next, Place, Turn, Woken},
};

/// Has its key's turn: it asks, or listens, until the key is granted. When it gives up, its place in the store's line goes to whoever
/// comes next in this process: a crowd that gives up one by one costs the store no more than one that stays.
pub(crate) struct Head<'a> {
    place: &'a Place<'a>,
    options: &'a Options,
    since: Instant,
    bid: Bid<'a>,
    /// In the store's line: when to ask again.
    checks: Backoff,
    check: Option<Instant>,
    _turn: Turn<'a>,
}

impl<'a> Head<'a> {
    /// The head from now on, which has waited since then.
    pub(crate) fn new(place: &'a Place<'a>, options: &'a Options, turn: Turn<'a>, since: Instant) -> Self {
        let &Place { keeper, key, .. } = place;
        let bid = Bid::new(keeper, key, options);
        let mut head =
            Self { options, place, since, bid, checks: Backoff::of_line(), check: None, _turn: turn };
        if !options.fair && !options.fenced && options.renew {
            place.expect(options.ttl);
        }
        match place.left() {
            Some(left) if left.ttl == options.ttl && left.fenced == options.fenced => {
                head.bid = Bid::with(keeper, key, options, left.claim);
                (head.since, head.checks, head.check) = (left.since, left.checks, left.check);
                return head;
            }
            Some(left) => left.end(keeper, key),
            None => {}
        }
        // Whoever holds the key in this process brings us along when it releases: no need to ask.
        if place.is_held_here() && head.bid.listen() && place.follow(head.next()) {
            head.check = Some(place.in_line(Instant::now(), &mut head.checks));
        }
        head
    }

    /// When the next attempt is due; `None` for now.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.bid.is_asking() { None } else { self.check.or_else(|| self.place.planned()) }
    }

    /// Sleeps until the key is worth another attempt, `due` at the latest, or is ours.
    pub(crate) async fn sleep(&mut self, due: Instant) -> Result<Option<Arc<Held>>, StoreError> {
        let in_line = self.bid.is_in_line();
        if in_line {
            self.place.follow(self.next());
        }
        let held = match self.place.worth_a_try(self.bid.hint(), in_line, due).await {
            Woken::Inherits => {
                let Some(Bequest { owner, lease }) = self.place.inherit() else { return Ok(None) };
                // Our own place in the store's line is left to whoever comes next.
                Bid::with(self.place.keeper, self.place.key, self.options, Claim::granted(owner))
                    .accept(lease)?
            }
            Woken::Hint(Hint::HandedOver(lease)) => self.bid.accept(lease)?,
            Woken::Hint(Hint::MayBeFree) => None,
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
    pub(crate) async fn ask(&mut self) -> Result<Option<Arc<Held>>, StoreError> {
        self.place.plan(Instant::now());
        let waits = Waits { since: self.since, contended: self.place.is_contended() };
        let attempt = self.bid.attempt(Ask::Waiting(waits)).await?;
        let now = Instant::now();
        match attempt {
            Attempt::Granted(held) => {
                self.place.granted(now);
                Ok(Some(held))
            }
            Attempt::Held { remaining } => {
                self.place.saw(remaining, now);
                self.check = self.bid.is_in_line().then(|| self.place.in_line(now, &mut self.checks));
                Ok(None)
            }
        }
    }

    /// As a release brings us along.
    fn next(&self) -> Next {
        let Options { ttl, fenced, .. } = *self.options;
        Next { owner: self.bid.owner(), ttl, fenced, since: self.since }
    }
}

impl Drop for Head<'_> {
    fn drop(&mut self) {
        let Options { ttl, fenced, .. } = *self.options;
        if let Some(Bequest { owner, .. }) = self.place.inherit() {
            // It came too late.
            drop(Bid::with(self.place.keeper, self.place.key, self.options, Claim::granted(owner)));
        }
        let Some(claim) = self.bid.give_up() else { return self.place.unfollow() };
        let (since, check, checks) = (self.since, self.check, self.checks.clone());
        self.place.leave(Left { claim, ttl, fenced, since, check, checks });
    }
}
