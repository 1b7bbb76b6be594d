//! An in-memory store whose operations fail while a test says so.

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use distlock::{
    Acquired, FencingToken, Holder, Key, MemoryStore, OwnerToken, Store, StoreError, StoreErrorKind,
    StoreFuture,
};

/// Which operations fail.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) acquire: AtomicBool,
    pub(crate) renew: AtomicBool,
    pub(crate) release: AtomicBool,
    pub(crate) take_again: AtomicBool,
}

#[derive(Clone, Default)]
pub(crate) struct WaveringStore {
    store: Arc<Mutex<MemoryStore>>,
    pub(crate) faults: Arc<Faults>,
}

impl WaveringStore {
    /// Loses all leases, as a server does that restarts without its data.
    pub(crate) fn forget(&self) {
        *self.store.lock().unwrap() = MemoryStore::default();
    }

    fn memory(&self) -> MemoryStore {
        self.store.lock().unwrap().clone()
    }

    /// The operation, or its failure: no answer in time.
    fn unless<T: Send + 'static>(fault: &AtomicBool, operation: StoreFuture<T>) -> StoreFuture<T> {
        if fault.load(Ordering::SeqCst) {
            return Box::pin(ready(Err(StoreError::new(StoreErrorKind::TimedOut, "as the test wants"))));
        }
        operation
    }
}

impl Store for WaveringStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        Self::unless(&self.faults.acquire, self.memory().acquire(key, owner, ttl, fenced))
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        Self::unless(&self.faults.renew, self.memory().renew(key, owner, ttl))
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        Self::unless(&self.faults.release, self.memory().release(key, owner))
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.memory().inspect(key)
    }

    fn raise_fence(&self, _key: &Key, _owner: &OwnerToken, _fence: FencingToken) -> StoreFuture<bool> {
        Box::pin(ready(Err(StoreError::new(StoreErrorKind::TimedOut, "as the test wants"))))
    }

    /// As a server does it that has lost the lease.
    fn take_again(
        &self,
        key: &Key,
        owner: &OwnerToken,
        rest_of_ttl: Duration,
        _fence: Option<FencingToken>,
    ) -> StoreFuture<bool> {
        let taking = self.memory().acquire(key, owner, rest_of_ttl, false);
        let taken = async move { Ok(matches!(taking.await?, Acquired::Granted { .. })) };
        Self::unless(&self.faults.take_again, Box::pin(taken))
    }
}
