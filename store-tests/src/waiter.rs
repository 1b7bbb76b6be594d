//! A waiter of a key, at one of two handles on the store.

use std::{fmt::Debug, time::Duration};

use distlock_core::{Acquired, Enqueue, FencingToken, HandOver, Hint, Key, NextWaiter, OwnerToken, Store};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    claim::{PATIENCE, TTL, answer, claim},
    owner::Owner,
};

pub(crate) const ENQUEUES: &str =
    "A store with wait queues puts the owner into the key's queue if the key is not granted.";
pub(crate) const QUEUED: &str = "Whether an owner that was refused is in a wait queue.";
pub(crate) const HANDS_OVER: &str = "A store with wait queues gives the key to the waiter that has waited longest, \
                                     in whatever process, and tells that waiter by a `hint`.";
const LASTS: &str = "How long the lease lasts from then unless it is renewed.";
const FENCE: &str = "The fencing token, if the waiter asked for one.";
const RENEW: &str = "Lets the owner's lease last `ttl` from now.";

/// An owner that waits.
pub(crate) struct Waiter<'a> {
    pub(crate) owner: Owner<'a>,
    name: &'static str,
    since: Instant,
    ttl: Duration,
    fenced: bool,
}

impl<'a> Waiter<'a> {
    /// A waiter that has waited from now on. The name is for messages.
    pub(crate) fn new(name: &'static str, store: &'a dyn Store, key: &Key) -> Self {
        Self { owner: Owner::new(store, key), name, since: Instant::now(), ttl: TTL, fenced: false }
    }

    pub(crate) fn since(self, since: Instant) -> Self {
        Self { since, ..self }
    }

    pub(crate) fn ttl(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
    }

    pub(crate) fn fenced(self) -> Self {
        Self { fenced: true, ..self }
    }

    fn token(&self) -> &OwnerToken {
        &self.owner.token
    }

    /// Asks once, for a key that was seen to be held.
    pub(crate) async fn ask(&self) -> Acquired {
        self.ask_as(Enqueue::new(self.since).contended(true)).await
    }

    pub(crate) async fn ask_as(&self, enqueue: Enqueue) -> Acquired {
        let Owner { store, key, token } = &self.owner;
        let ask = store.acquire_or_enqueue(key, token, self.ttl, self.fenced, enqueue);
        answer("acquire_or_enqueue", ask).await
    }

    /// Asks for a key that is held, and is queued.
    pub(crate) async fn join(&self) {
        let refused = self.ask().await;
        self.claim(matches!(refused, Acquired::Busy { .. }), ENQUEUES, refused);
        self.claim(self.is_queued(), QUEUED, "`is_queued` is false after the refusal");
    }

    pub(crate) fn is_queued(&self) -> bool {
        self.owner.store.is_queued(self.token())
    }

    /// Begins to listen without asking.
    pub(crate) fn register(&self) -> bool {
        self.owner.store.register_waiter(&self.owner.key, self.token())
    }

    /// How a release in the same process names the waiter.
    pub(crate) fn as_next(&self) -> NextWaiter {
        NextWaiter::new(*self.token(), self.ttl, self.since).fenced(self.fenced)
    }

    /// Is told that the key has been handed over, within the time that an operation may take.
    pub(crate) async fn is_told(&self) -> HandOver {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let hint = self.owner.store.hint(&self.owner.key, self.token());
            if let Ok(Hint::HandedOver(lease)) = timeout_at(end, hint).await {
                self.check_lease(&lease);
                return lease;
            }
            // A hint may be spurious. The pause keeps a store that gives many of them from being asked in a
            // loop.
            sleep(Duration::from_millis(5)).await;
        }
        self.claim(false, HANDS_OVER, format!("no hint of a hand-over within {PATIENCE:?}"));
        unreachable!("the claim has failed")
    }

    /// Is not told of a hand-over, and does not have the key.
    pub(crate) async fn is_passed_over(&self) {
        let hint = self.owner.store.hint(&self.owner.key, self.token());
        let hint = timeout(Duration::from_millis(50), hint).await;
        self.claim(!matches!(hint, Ok(Hint::HandedOver(_))), HANDS_OVER, hint);
        let renewed = self.owner.renew(self.ttl).await;
        self.claim(!renewed, HANDS_OVER, "the owner holds the key");
    }

    /// Is told of a hand-over and renews the lease, as a waiter has to.
    pub(crate) async fn is_served(&self) -> HandOver {
        let lease = self.is_told().await;
        self.claim(self.owner.renew(self.ttl).await, RENEW, "the lease that was handed over is not renewed");
        let remaining = self.owner.remaining().await;
        self.claim(remaining > self.ttl / 2 && remaining <= self.ttl, RENEW, remaining);
        self.claim(!self.is_queued(), QUEUED, "`is_queued` is true for an owner that holds the key");
        lease
    }

    /// Is served with a fencing token above the last one.
    pub(crate) async fn is_served_above(&self, last: FencingToken) -> FencingToken {
        let lease = self.is_served().await;
        let Some(fence) = lease.fence else {
            self.claim(false, FENCE, lease);
            return last;
        };
        self.claim(
            fence > last,
            "A number that rises with every fenced grant of a key, for the protected resource to check.",
            (last, fence),
        );
        fence
    }

    fn check_lease(&self, lease: &HandOver) {
        self.claim(!lease.lasts.is_zero() && lease.lasts <= self.ttl, LASTS, lease);
        self.claim(lease.fence.is_some() == self.fenced, FENCE, lease);
    }

    #[track_caller]
    pub(crate) fn claim(&self, holds: bool, sentence: &str, seen: impl Debug) {
        claim(holds, sentence, (self.name, seen));
    }
}
