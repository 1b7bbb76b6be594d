//! What stores and waiters say to each other: enqueueing, hints and handed-over leases.

use std::{future::Future, pin::Pin, time::Duration};

use tokio::time::Instant;

use crate::{
    clock::Moment,
    token::{FencingToken, OwnerToken},
};

/// A hint under way: see [`Store::hint`](crate::Store::hint).
pub type HintFuture = Pin<Box<dyn Future<Output = Hint> + Send>>;

/// What a store tells a waiter without being asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Hint {
    /// The key may be free.
    MayBeFree,
    /// The key has been handed over to the waiter.
    HandedOver(HandOver),
}

/// How a waiter joins a key's wait queue: see
/// [`Store::acquire_or_enqueue`](crate::Store::acquire_or_enqueue).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Enqueue {
    /// Since when the waiter has waited. The waiter that has waited longest is served first.
    pub waiting_since: Instant,
    /// The key was seen to be held just now, so that a plain attempt would most likely be wasted.
    pub contended: bool,
}

impl Enqueue {
    /// A waiter that has waited since then, for a key that may be free.
    #[must_use]
    pub const fn new(waiting_since: Instant) -> Self {
        Self { waiting_since, contended: false }
    }

    /// Sets whether the key was seen to be held just now.
    #[must_use]
    pub const fn contended(mut self, contended: bool) -> Self {
        self.contended = contended;
        self
    }
}

/// A waiter of the process that is about to release the key:
/// see [`Store::release_and_hand_over`](crate::Store::release_and_hand_over).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NextWaiter {
    /// The waiter's owner token.
    pub owner: OwnerToken,
    /// How long its lease is to last.
    pub ttl: Duration,
    /// Whether it wants a fencing token.
    pub fenced: bool,
    /// Since when it has waited, which is its rank among the waiters of all processes.
    pub waiting_since: Instant,
}

impl NextWaiter {
    /// A waiter that wants a lease of `ttl`, without a fencing token, and has waited since then.
    #[must_use]
    pub const fn new(owner: OwnerToken, ttl: Duration, waiting_since: Instant) -> Self {
        Self { owner, ttl, fenced: false, waiting_since }
    }

    /// Sets whether the waiter wants a fencing token.
    #[must_use]
    pub const fn fenced(mut self, fenced: bool) -> Self {
        self.fenced = fenced;
        self
    }
}

/// A lease that a release has handed over to a waiter.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct HandOver {
    /// The fencing token, if the waiter asked for one.
    pub fence: Option<FencingToken>,
    /// A moment not later than the one at which the store's clock for the lease began to run.
    pub since: Moment,
    /// How long the lease lasts from then unless it is renewed.
    pub lasts: Duration,
    /// How long after `since` the store may give the key to the next waiter unless it has had the waiter's
    /// [claim](crate::Store::confirm_hand_over) by then; `None` if the lease needs no claim.
    pub claim_within: Option<Duration>,
}

impl HandOver {
    /// A lease without a fencing token that lasts this long from a moment that is not later than its grant.
    #[must_use]
    pub const fn new(since: Moment, lasts: Duration) -> Self {
        Self { fence: None, since, lasts, claim_within: None }
    }

    /// Sets how long after `since` the store waits for the waiter's [claim](crate::Store::confirm_hand_over).
    #[must_use]
    pub const fn with_claim_within(mut self, claim_within: Duration) -> Self {
        self.claim_within = Some(claim_within);
        self
    }

    /// Adds the fencing token.
    #[must_use]
    pub const fn with_fence(mut self, fence: Option<FencingToken>) -> Self {
        self.fence = fence;
        self
    }
}
