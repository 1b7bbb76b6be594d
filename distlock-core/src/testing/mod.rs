//! Locks for tests: [`TestLocks`]. The file `store` is its store in memory, with the faults that a test sets.

use std::{fmt, panic::Location, time::Duration};

use tokio::time::timeout;

use crate::{
    error::{LostReason, StoreErrorKind},
    key::Key,
    manager::LockManager,
};

mod store;

use store::{FaultKind, TestStore};

/// How long `assert_released` waits for a release that is under way.
const PATIENCE: Duration = Duration::from_secs(1);

/// Locks in memory for a test, which can make a key busy, lose a lock and let the store fail.
///
/// The code under test gets [`manager`](Self::manager), which is a [`LockManager`] as any other. It follows
/// tokio's paused clock. Each value has keys of its own, so tests run side by side. A clone is the same
/// value.
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// use distlock::{LockError, LockManager, LostReason, StoreErrorKind, testing::TestLocks};
///
/// /// The code under test.
/// async fn fulfil(locks: LockManager) -> Result<&'static str, LockError> {
///     locks.lock("order:42").run(async { "fulfilled" }).await
/// }
///
/// # async fn example() {
/// let locks = TestLocks::new();
/// assert_eq!(fulfil(locks.manager()).await.unwrap(), "fulfilled");
///
/// locks.busy("order:42");
/// assert!(matches!(fulfil(locks.manager()).await, Err(LockError::Busy { .. })));
/// locks.free("order:42");
///
/// locks.lose("order:42", LostReason::NotOwner);
/// assert!(matches!(fulfil(locks.manager()).await, Err(LockError::Lost { .. })));
/// locks.assert_released("order:42").await;
///
/// locks.fail("order:42", StoreErrorKind::Unreachable);
/// assert!(matches!(fulfil(locks.manager()).await, Err(LockError::Store { .. })));
/// # }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(example());
/// ```
#[derive(Clone)]
pub struct TestLocks {
    store: TestStore,
    manager: LockManager,
}

impl TestLocks {
    /// Makes locks of which none is held.
    pub fn new() -> Self {
        let store = TestStore::default();
        let manager = LockManager::with_defaults(Box::new(store.clone()));
        manager.shared().test_leases.enable();
        Self { store, manager }
    }

    /// The manager for the code under test: for the state of its handlers, for
    /// [`with_manager`](crate::with_manager), or for an argument.
    pub fn manager(&self) -> LockManager {
        self.manager.clone()
    }

    /// Gives the key to another owner, until [`free`](Self::free).
    ///
    /// The other owner renews its lease, so that [`Busy`](crate::LockError::Busy) always says that 30 s are
    /// left of it. A lease that a call has at the moment goes on. The calls after it find the key busy.
    ///
    /// # Panics
    /// If the key is empty or longer than 4,096 bytes.
    #[track_caller]
    pub fn busy(&self, key: &str) {
        self.store.set(self.key(key), FaultKind::Busy);
    }

    /// Takes the key from the owner that [`busy`](Self::busy) gave it to. A call that waits for the key is
    /// granted it at once.
    ///
    /// # Panics
    /// If the key is empty or longer than 4,096 bytes.
    #[track_caller]
    pub fn free(&self, key: &str) {
        self.store.end(&self.key(key), |kind| kind == FaultKind::Busy);
    }

    /// Loses the lock on the key with this reason: the lock that is held now, or else the next one that is
    /// granted. It takes no time, and one call loses one lock.
    ///
    /// * The body that holds the lock is dropped at its next await, and its call returns
    ///   [`Lost`](crate::LockError::Lost).
    /// * A body whose lock is granted later begins. It is dropped at the first await at which it has to wait.
    ///   A body that never has to wait runs to its end, and its call returns `Lost` all the same.
    /// * A [guard](crate::LockGuard) says that it is lost.
    /// * A body with [`OnLost::Finish`](crate::OnLost::Finish) runs to its end. Its guard says that it is
    ///   lost.
    ///
    /// The key is free when the guard or the body is dropped, for each reason.
    ///
    /// # Panics
    /// If the key is empty or longer than 4,096 bytes.
    #[track_caller]
    pub fn lose(&self, key: &str, reason: LostReason) {
        self.manager.shared().test_leases.lose(self.key(key), reason);
    }

    /// Lets the store fail with an error of this kind in every operation for the key, until
    /// [`recover`](Self::recover). Nothing is executed.
    ///
    /// A call with `wait` tries again, as with every store, if the kind is
    /// [transient](crate::StoreError::is_transient). A lock that is held is lost when its ttl is over. A
    /// release that fails is tried again.
    ///
    /// # Panics
    /// If the key is empty or longer than 4,096 bytes.
    #[track_caller]
    pub fn fail(&self, key: &str, kind: StoreErrorKind) {
        self.store.set(self.key(key), FaultKind::Fails(kind));
    }

    /// Ends what [`fail`](Self::fail) has begun.
    ///
    /// # Panics
    /// If the key is empty or longer than 4,096 bytes.
    #[track_caller]
    pub fn recover(&self, key: &str) {
        self.store.end(&self.key(key), |kind| matches!(kind, FaultKind::Fails(_)));
    }

    /// The keys that calls hold, sorted. A key that is [`busy`](Self::busy) is not among them.
    ///
    /// A release in the background, as that of a guard that was dropped, may still be under way: see
    /// [`assert_released`](Self::assert_released).
    #[must_use]
    pub fn held(&self) -> Vec<String> {
        let mut keys: Vec<_> =
            self.store.held_keys().into_iter().map(|(key, _)| key.name().to_owned()).collect();
        keys.sort_unstable();
        keys
    }

    /// Asserts that no call holds the key. A release that is under way is waited for, up to one second of
    /// tokio's clock.
    ///
    /// A key that is [`busy`](Self::busy) passes if no call holds it.
    ///
    /// # Panics
    /// If a call still holds the key, in a sentence that says what is still in it. If the key is empty or
    /// longer than 4,096 bytes.
    #[track_caller]
    pub fn assert_released(&self, key: &str) -> impl Future<Output = ()> + Send + use<> {
        let (locks, key, caller) = (self.clone(), self.key(key), Location::caller());
        async move {
            if timeout(PATIENCE, locks.store.released(&key)).await.is_err()
                && let Some(remaining) = locks.store.remaining(&key)
            {
                let holder = locks.holder(&key);
                panic!(
                    "{caller}: `{}` is not released: {holder}; its lease has {remaining:?} left",
                    key.name()
                );
            }
        }
    }

    /// What holds a key that is not released.
    fn holder(&self, key: &Key) -> String {
        match (self.manager.shared().test_leases.has_body(key), self.store.fault(key)) {
            (Some(true), _) => "a body is still running under it".to_owned(),
            (Some(false), _) => "a guard still holds it".to_owned(),
            (None, Some(FaultKind::Fails(kind))) => {
                format!("no body and no guard holds it, but its release fails as {kind:?}")
            }
            (None, _) => {
                "no body and no guard holds it, but `at_least` keeps it, or the runtime that was to release \
                          it has ended"
                    .to_owned()
            }
        }
    }

    #[track_caller]
    fn key(&self, name: &str) -> Key {
        match self.manager.key(name) {
            Ok(key) => key,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Default for TestLocks {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestLocks").field("held", &self.held()).finish_non_exhaustive()
    }
}
