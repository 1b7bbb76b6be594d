//! The store: where leases live. One small trait; everything else composes.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{
    error::StoreError,
    key::Key,
    lease::{FencingToken, Moment, OwnerToken},
};

mod memory;
#[cfg(feature = "redis")]
pub(crate) mod redis;

pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::RedisStore;

/// An operation under way.
///
/// It owns all that it needs, so that an acquire whose caller has gone can be seen to its end by somebody else. Nothing is sent
/// before its first poll.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// A hint under way: see [`Store::hint`].
pub type HintFuture = Pin<Box<dyn Future<Output = Hint> + Send>>;

/// What a store tells a waiter of its own accord.
#[derive(Debug)]
#[non_exhaustive]
pub enum Hint {
    /// The key may be free.
    MayBeFree,
    /// The key has been handed over to the waiter.
    HandedOver(HandOver),
}

/// A lease that its holder's release has passed on.
#[derive(Debug, Clone, Copy)]
pub struct HandOver {
    /// The fencing token, where one was asked for.
    pub(crate) fence: Option<FencingToken>,
    /// Not later than the server's clock for it began to run.
    pub(crate) since: Moment,
    /// How long it lasts unless it is renewed.
    pub(crate) lasts: Duration,
}

/// What a store answers to an acquire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acquired {
    /// The key is ours for a ttl.
    Granted {
        /// The fencing token, where one was asked for.
        fence: Option<FencingToken>,
    },
    /// Somebody else has it.
    Held {
        /// What is left of the holder's lease; `None` where it has no expiry.
        remaining: Option<Duration>,
    },
}

/// Who holds a key, as far as others may know: never the owner token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// What is left of the lease; `None` where it has no expiry.
    pub remaining: Option<Duration>,
}

impl Holder {
    /// A holder whose lease has this much left.
    pub fn new(remaining: Option<Duration>) -> Self {
        Self { remaining }
    }
}

/// Keeps leases: on Redis, in memory, or wherever you implement it.
///
/// Each operation is atomic, and every one but a hint can be sent again: the second time changes nothing more. An error says
/// that the outcome is not known, or that nothing happened, by its [`StoreErrorKind`](crate::StoreErrorKind); it never stands for "held" or "not owner".
pub trait Store: Send + Sync + 'static {
    /// Takes the key for `ttl` if nobody has it, or says what is left of the holder's lease.
    ///
    /// An owner that has the key already is granted it again, with the same fencing token: it is its own acquire, sent twice.
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired>;

    /// Lets the owner's lease last `ttl` from now; false, and no change, when the key is not the owner's. It never creates the key.
    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool>;

    /// Ends the owner's lease; false, and no change, when the key is not the owner's.
    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool>;

    /// Who holds the key, `None` for nobody.
    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>>;

    /// As [`acquire`](Self::acquire) for an owner that is going to wait, and is `contended` when somebody was seen to have the key just now. A store
    /// that keeps a line for each key, and hands the key over on release, puts the owner into it; that lapses by itself
    /// unless it is asked again every second, and [`release`](Self::release) leaves it. The default keeps no line.
    fn stand_in_line(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
        _contended: bool,
    ) -> StoreFuture<Acquired> {
        self.acquire(key, owner, ttl, fenced)
    }

    /// Whether an owner that was told [`Held`](Acquired::Held) stands in a line.
    fn is_in_line(&self, _owner: &OwnerToken) -> bool {
        false
    }

    /// Ends when the key has been handed over to the owner, or may be free. A hint may be late, lost or spurious: waiters also look
    /// by themselves. A store that cannot tell leaves the default, which never ends.
    fn hint(&self, _key: &Key, _owner: &OwnerToken) -> HintFuture {
        Box::pin(std::future::pending())
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        (**self).acquire(key, owner, ttl, fenced)
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        (**self).renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        (**self).release(key, owner)
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        (**self).inspect(key)
    }

    fn stand_in_line(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
        contended: bool,
    ) -> StoreFuture<Acquired> {
        (**self).stand_in_line(key, owner, ttl, fenced, contended)
    }

    fn is_in_line(&self, owner: &OwnerToken) -> bool {
        (**self).is_in_line(owner)
    }

    fn hint(&self, key: &Key, owner: &OwnerToken) -> HintFuture {
        (**self).hint(key, owner)
    }
}
