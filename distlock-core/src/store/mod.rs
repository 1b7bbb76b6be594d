//! The store: where leases live. One small trait; everything else composes.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    clock::Moment,
    error::{StoreError, StoreErrorKind},
    key::Key,
    token::{FencingToken, OwnerToken},
};

mod memory;
mod quorum;
#[cfg(feature = "redis")]
pub(crate) mod redis;

pub use memory::MemoryStore;
pub use quorum::QuorumStore;
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

/// How somebody comes to wait for a key.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Waits {
    /// Since when: who came first is served first.
    pub since: Instant,
    /// Somebody was seen to have the key just now.
    pub contended: bool,
}

/// Who waits for a key in the process that is about to release it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Next {
    /// The waiter's owner token.
    pub owner: OwnerToken,
    /// How long its lease is to last.
    pub ttl: Duration,
    /// Whether it wants a fencing token.
    pub fenced: bool,
    /// For how long it has waited, which is its claim among those who wait elsewhere. [`MAX`](Duration::MAX) is before them all.
    pub waited: Duration,
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
    /// An owner that has the key already is granted it again, with the same fencing token: it is its own acquire, sent twice. One that was refused
    /// takes a fresh owner token before it asks again, unless it [stands in line](Self::is_in_line): a quorum is still releasing what a few of its
    /// nodes had granted.
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired>;

    /// As [`acquire`](Self::acquire) with a fencing token, for a quorum, whose nodes are to draw one number: `proposal`, kept within 100 ms of
    /// the store's own clock, unless a higher one was drawn or raised before. A store that ignores the proposal, as the default does,
    /// costs the quorum a second round trip.
    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        _proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        self.acquire(key, owner, ttl, true)
    }

    /// Raises the key's fencing counter to `fence`, for a quorum; false, and no change, when the key is not the owner's or the counter is higher.
    /// What it raised to once, the owner's [`acquire_proposed`](Self::acquire_proposed) sent again answers. The default refuses: a store without it
    /// is no node for fenced locks.
    fn raise_fence(&self, _key: &Key, _owner: &OwnerToken, _fence: FencingToken) -> StoreFuture<bool> {
        let detail =
            "this store cannot raise a fencing token, so that it is no node for fenced locks on a quorum";
        Box::pin(std::future::ready(Err(StoreError::new(StoreErrorKind::Refused, detail))))
    }

    /// Lets the owner's lease last `ttl` from now; false, and no change, when the key is not the owner's. It never creates the key.
    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool>;

    /// Ends the owner's lease; false, and no change, when the key is not the owner's.
    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool>;

    /// As [`release`](Self::release), in favour of somebody who waits for the key in this process, and [listens](Self::listen): a store that keeps
    /// a line gives the key to whoever of them all has waited for longest, and tells him by a [`hint`](Self::hint). The default only releases.
    fn release_to(&self, key: &Key, owner: &OwnerToken, _next: Next) -> StoreFuture<bool> {
        self.release(key, owner)
    }

    /// Begins to listen for an owner that has not asked, because somebody in this process holds the key and will [release it to
    /// him](Self::release_to); false where that would not be heard. The default keeps no line.
    fn listen(&self, _key: &Key, _owner: &OwnerToken) -> bool {
        false
    }

    /// Whether operations that are sent from one tokio runtime take effect in the order in which their futures were first polled, as
    /// long as none fails: a quorum then need not wait for a node's answers one by one. The default does not say so.
    fn keeps_order(&self) -> bool {
        false
    }

    /// Who holds the key, `None` for nobody.
    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>>;

    /// As [`acquire`](Self::acquire) for an owner that is going to wait. A store
    /// that keeps a line for each key, and hands the key over on release, puts the owner into it; that lapses by itself
    /// unless it is asked again every other second, and [`release`](Self::release) leaves it. The default keeps no line.
    fn stand_in_line(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
        _waits: Waits,
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

    /// Ends when the key, which somebody holds, may have become free: the hint for a quorum's waiters, who stand in no line. It does not end for a
    /// key that is free when it is first polled. The default never ends.
    fn watch(&self, _key: &Key) -> HintFuture {
        Box::pin(std::future::pending())
    }
}

/// A pointer to a store is that store.
macro_rules! by_pointer {
    ($pointer:ident) => {
        impl<S: Store + ?Sized> Store for $pointer<S> {
            fn acquire(
                &self,
                key: &Key,
                owner: &OwnerToken,
                ttl: Duration,
                fenced: bool,
            ) -> StoreFuture<Acquired> {
                (**self).acquire(key, owner, ttl, fenced)
            }

            fn acquire_proposed(
                &self,
                key: &Key,
                owner: &OwnerToken,
                ttl: Duration,
                proposal: FencingToken,
            ) -> StoreFuture<Acquired> {
                (**self).acquire_proposed(key, owner, ttl, proposal)
            }

            fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
                (**self).raise_fence(key, owner, fence)
            }

            fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
                (**self).renew(key, owner, ttl)
            }

            fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
                (**self).release(key, owner)
            }

            fn release_to(&self, key: &Key, owner: &OwnerToken, next: Next) -> StoreFuture<bool> {
                (**self).release_to(key, owner, next)
            }

            fn listen(&self, key: &Key, owner: &OwnerToken) -> bool {
                (**self).listen(key, owner)
            }

            fn keeps_order(&self) -> bool {
                (**self).keeps_order()
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
                waits: Waits,
            ) -> StoreFuture<Acquired> {
                (**self).stand_in_line(key, owner, ttl, fenced, waits)
            }

            fn is_in_line(&self, owner: &OwnerToken) -> bool {
                (**self).is_in_line(owner)
            }

            fn hint(&self, key: &Key, owner: &OwnerToken) -> HintFuture {
                (**self).hint(key, owner)
            }

            fn watch(&self, key: &Key) -> HintFuture {
                (**self).watch(key)
            }
        }
    };
}

by_pointer!(Arc);
by_pointer!(Box);
