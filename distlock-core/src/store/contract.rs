//! The contract of a store: one small trait, and what its operations answer.

use std::{future::Future, pin::Pin, time::Duration};

use super::{
    diagnosis::Diagnosis,
    hand_over::{Enqueue, Hint, HintFuture, NextWaiter},
    listing::HolderPages,
};
use crate::{
    error::{StoreError, StoreErrorKind},
    holder::{Holder, HolderId},
    key::Key,
    token::{FencingToken, OwnerToken},
};

/// An operation under way.
///
/// The future owns everything that it needs, so that a background task can finish an acquire whose caller has
/// gone. Nothing is sent before the first poll.
pub type StoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The answer to an acquire. A store that wraps another passes an answer on that it does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acquired {
    /// The owner holds the key for the ttl.
    #[non_exhaustive]
    Granted {
        /// The fencing token, if the acquire asked for one.
        fence: Option<FencingToken>,
    },
    /// Another owner holds the key.
    #[non_exhaustive]
    Busy {
        /// What is left of the holder's lease; `None` if the key has no expiry.
        remaining: Option<Duration>,
        /// The holder, where the store has learned of it without a further command.
        holder: Option<Box<Holder>>,
    },
}

impl Acquired {
    /// A grant, with a fencing token if the acquire asked for one.
    #[must_use]
    pub const fn granted(fence: Option<FencingToken>) -> Self {
        Self::Granted { fence }
    }

    /// A refusal, with what is left of the holder's lease; `None` if the key has no expiry.
    #[must_use]
    pub const fn busy(remaining: Option<Duration>) -> Self {
        Self::Busy { remaining, holder: None }
    }

    /// Adds the holder to a refusal, which tells its caller. A grant stays as it is.
    #[must_use]
    pub fn held_by(self, held_by: Holder) -> Self {
        match self {
            Self::Busy { remaining, .. } => {
                Self::Busy { remaining, holder: Some(Box::new(held_by.with_remaining(remaining))) }
            }
            Self::Granted { .. } => self,
        }
    }
}

/// Keeps leases: on Redis, in memory, or wherever you implement it.
///
/// Each operation is atomic. Each may be sent twice, and the second time changes nothing more. An error says
/// by its [`StoreErrorKind`] whether the outcome is unknown or nothing happened. An error never stands for
/// "busy" or "not the owner".
///
/// The crate `distlock-store-tests` has the tests of this contract. Run them over a store of your own.
///
/// # Waiting
/// A store may leave the second half of the trait to its defaults. Waiters then poll. A store that keeps a
/// wait queue for each key implements [`acquire_or_enqueue`](Self::acquire_or_enqueue),
/// [`is_queued`](Self::is_queued), [`register_waiter`](Self::register_waiter),
/// [`release_and_hand_over`](Self::release_and_hand_over) and [`hint`](Self::hint). A store that can only
/// tell that a key has changed implements [`hint`](Self::hint).
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// use std::{sync::atomic::{AtomicU64, Ordering}, time::Duration};
///
/// use distlock::{
///     Acquired, HintFuture, Holder, Key, LockManager, MemoryStore, OwnerToken, Store, StoreFuture,
/// };
///
/// /// Counts the acquires of another store.
/// struct Counted<S> {
///     store: S,
///     acquires: AtomicU64,
/// }
///
/// impl<S: Store> Store for Counted<S> {
///     fn acquire(
///         &self,
///         key: &Key,
///         owner: &OwnerToken,
///         ttl: Duration,
///         fenced: bool,
///     ) -> StoreFuture<Acquired> {
///         self.acquires.fetch_add(1, Ordering::Relaxed);
///         self.store.acquire(key, owner, ttl, fenced)
///     }
///
///     fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
///         self.store.renew(key, owner, ttl)
///     }
///
///     fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
///         self.store.release(key, owner)
///     }
///
///     fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
///         self.store.inspect(key)
///     }
///
///     // Without this, waiters poll.
///     fn hint(&self, key: &Key, owner: &OwnerToken) -> HintFuture {
///         self.store.hint(key, owner)
///     }
/// }
///
/// # async fn example() -> Result<(), distlock::LockError> {
/// let store = Counted { store: MemoryStore::new(), acquires: AtomicU64::new(0) };
/// let manager = LockManager::builder().store(store).build()?;
/// let guard = manager.lock("order:42").acquire().await?;
/// assert!(guard.is_held());
/// # Ok(()) }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(example()).unwrap();
/// ```
pub trait Store: Send + Sync + 'static {
    /// Takes the key for `ttl` if it is free, or answers what is left of the holder's lease.
    ///
    /// An owner that holds the key already is granted it again with the same fencing token: the acquire was
    /// sent twice. After a refusal the caller takes a fresh owner token before it asks again, unless the
    /// owner [is queued](Self::is_queued): a quorum may still be releasing what some of its nodes had
    /// granted.
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired>;

    /// Lets the owner's lease last `ttl` from now. Answers false, and changes nothing, if the owner does not
    /// hold the key. It never creates the key.
    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool>;

    /// Ends the owner's lease. Answers false, and changes nothing, if the owner does not hold the key.
    ///
    /// An owner that is queued leaves the wait queue, which counts as released.
    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool>;

    /// Answers the key's holder; `None` if the key is free.
    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>>;

    /// Lists the holders of all keys in a namespace whose names begin with `prefix`, in no order.
    ///
    /// A key that is held from the first page to the last is listed at least once. One that is acquired or
    /// released meanwhile may be missing. Neither the server nor this process holds more than a page at a
    /// time. The default fails as [`Refused`](StoreErrorKind::Refused).
    fn list(&self, _namespace: &str, _prefix: &str) -> HolderPages {
        HolderPages::failed(StoreError::new(StoreErrorKind::Refused, "this store cannot list its holders"))
    }

    /// Ends the lease of the holder with this [id](Holder::id), as a release by its owner would: the first
    /// waiter gets the key. Answers false, and changes nothing, if that holder does not hold the key.
    ///
    /// From then on, for a minute and for as long as its lease would have lasted, its owner cannot
    /// [take the key again](Self::take_again), even if it did not hold the key here: the other nodes of a
    /// quorum may have to be told yet. The default fails as [`Refused`](StoreErrorKind::Refused).
    fn break_lock(&self, _key: &Key, _holder: HolderId) -> StoreFuture<bool> {
        let detail = "this store cannot break a lock";
        Box::pin(std::future::ready(Err(StoreError::new(StoreErrorKind::Refused, detail))))
    }

    /// Acquires with a fencing token as a node of a quorum, whose nodes are to draw one number: `proposal`,
    /// kept within 100 ms of the store's own clock, unless a higher number was drawn or raised before.
    ///
    /// The default ignores the proposal, which costs the quorum a second round trip.
    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        _proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        self.acquire(key, owner, ttl, true)
    }

    /// Raises the key's fencing counter to `fence` as a node of a quorum. Answers false, and changes nothing,
    /// if the owner does not hold the key or the counter is higher.
    ///
    /// The owner's [`acquire_proposed`](Self::acquire_proposed), sent again, then answers the raised number.
    /// The default refuses: a store without this operation cannot be a node for fenced locks.
    fn raise_fence(&self, _key: &Key, _owner: &OwnerToken, _fence: FencingToken) -> StoreFuture<bool> {
        let detail =
            "this store cannot raise a fencing token, so it cannot be a quorum's node for fenced locks";
        Box::pin(std::future::ready(Err(StoreError::new(StoreErrorKind::Refused, detail))))
    }

    /// Takes the key again, if it is free, for an owner whose lease a node of a quorum has lost while the
    /// quorum has kept it. The lease lasts for the rest of its ttl. Answers false, and changes nothing, if
    /// another owner holds the key.
    ///
    /// For a fenced lease, the key's fencing counter is raised to the lease's token, unless the counter is
    /// higher. A store that must not grant yet after its start fails as for an acquire. The default answers
    /// false: a lease then wears down as its nodes lose it one by one.
    fn take_again(
        &self,
        _key: &Key,
        _owner: &OwnerToken,
        _rest_of_ttl: Duration,
        _fence: Option<FencingToken>,
    ) -> StoreFuture<bool> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Whether operations that are sent from one tokio runtime take effect in the order in which their
    /// futures were first polled, as long as none fails. A quorum then need not wait for a node's answers one
    /// by one.
    ///
    /// The default is false.
    fn keeps_order(&self) -> bool {
        false
    }

    /// Acquires for an owner that is going to wait.
    ///
    /// A store with wait queues puts the owner into the key's queue if the key is not granted. The entry
    /// lapses by itself unless the owner asks again every other second. [`release`](Self::release) removes
    /// it. The default only acquires.
    fn acquire_or_enqueue(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
        _enqueue: Enqueue,
    ) -> StoreFuture<Acquired> {
        self.acquire(key, owner, ttl, fenced)
    }

    /// Whether an owner that was refused is in a wait queue.
    fn is_queued(&self, _owner: &OwnerToken) -> bool {
        false
    }

    /// Begins to listen for an owner that has not asked, because this process holds the key and is going to
    /// [hand it over](Self::release_and_hand_over). Answers false if the hand-over would not be heard.
    ///
    /// The default answers false.
    fn register_waiter(&self, _key: &Key, _owner: &OwnerToken) -> bool {
        false
    }

    /// Releases the key and names a waiter of this process, which is [registered](Self::register_waiter).
    ///
    /// A store with wait queues gives the key to the waiter that has waited longest, in whatever process, and
    /// tells that waiter by a [`hint`](Self::hint). The default only releases.
    fn release_and_hand_over(&self, key: &Key, owner: &OwnerToken, _next: NextWaiter) -> StoreFuture<bool> {
        self.release(key, owner)
    }

    /// Confirms a lease that was [handed over](crate::HandOver) and needs it, and lets it last `ttl` from
    /// now. Answers false, and changes nothing, if the owner does not hold the key.
    ///
    /// A store that gives the key to the next waiter if a waiter hangs waits for this. The default
    /// [renews](Self::renew).
    fn confirm_hand_over(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.renew(key, owner, ttl)
    }

    /// Ends when the key has been handed over to the owner, or may be free.
    ///
    /// A hint may be late, lost or spurious: waiters also ask by themselves. The default never ends.
    fn hint(&self, _key: &Key, _owner: &OwnerToken) -> HintFuture {
        never()
    }

    /// Ends when the key, which is held, may have become free: the hint for a quorum's waiters, which are in
    /// no queue.
    ///
    /// It does not end for a key that is free at the first poll. The default never ends.
    fn wait_for_change(&self, _key: &Key) -> HintFuture {
        never()
    }

    /// Says what the store's servers are like, for [`LockManager::diagnose`](crate::LockManager::diagnose).
    /// Changes nothing. A server that does not answer is a finding.
    ///
    /// The default says nothing.
    fn diagnose(&self) -> DiagnosisFuture {
        Box::pin(std::future::ready(Diagnosis::default()))
    }
}

/// The future of a store's diagnosis. It owns all that it uses.
pub type DiagnosisFuture = Pin<Box<dyn Future<Output = Diagnosis> + Send>>;

fn never() -> Pin<Box<dyn Future<Output = Hint> + Send>> {
    Box::pin(std::future::pending())
}
