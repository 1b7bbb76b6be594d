//! The store: where leases live. One small trait; everything else composes.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{
    error::StoreError,
    key::Key,
    lease::{FencingToken, OwnerToken},
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

/// A hint under way: see [`Store::freed`].
pub type HintFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

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

    /// Ends when the key may be free. A hint may be late, lost or spurious: waiters also look by themselves. A store that
    /// cannot tell leaves the default, which never ends.
    fn freed(&self, _key: &Key) -> HintFuture {
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

    fn freed(&self, key: &Key) -> HintFuture {
        (**self).freed(key)
    }
}
