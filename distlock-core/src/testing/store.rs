//! A store in memory with the faults that a test has set.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    error::{StoreError, StoreErrorKind},
    holder::{Holder, HolderId},
    key::Key,
    limits::DEFAULT_TTL,
    store::{Acquired, Hint, HintFuture, HolderPages, MemoryStore, Store, StoreFuture},
    token::OwnerToken,
};

/// A store in memory whose keys can be taken by another owner, and whose operations can fail. A clone is the
/// same store.
#[derive(Clone, Default)]
pub(super) struct TestStore {
    memory: MemoryStore,
    faults: Arc<Mutex<HashMap<Key, Fault>>>,
}

/// What a test has set for a key.
struct Fault {
    kind: FaultKind,
    /// Notified when the fault ends.
    ended: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// Another owner holds the key.
    Busy,
    /// Every operation for the key fails.
    Fails(StoreErrorKind),
}

impl TestStore {
    /// Sets a fault in place of the one that the key had.
    pub(super) fn set(&self, key: Key, kind: FaultKind) {
        let fault = Fault { kind, ended: Arc::default() };
        if let Some(before) = self.faults().insert(key, fault) {
            before.ended.notify_waiters();
        }
    }

    /// Ends the key's fault, if it `is_meant`.
    pub(super) fn end(&self, key: &Key, is_meant: impl Fn(FaultKind) -> bool) {
        let mut faults = self.faults();
        if faults.get(key).is_some_and(|fault| is_meant(fault.kind))
            && let Some(fault) = faults.remove(key)
        {
            fault.ended.notify_waiters();
        }
    }

    pub(super) fn fault(&self, key: &Key) -> Option<FaultKind> {
        self.faults().get(key).map(|fault| fault.kind)
    }

    /// The keys of all leases, in no order, with what is left of them. A key that another owner holds by a
    /// fault is not among them.
    pub(super) fn held_keys(&self) -> Vec<(Key, Duration)> {
        self.memory.held_keys()
    }

    /// What is left of the key's lease; `None` if no call holds the key.
    pub(super) fn remaining(&self, key: &Key) -> Option<Duration> {
        self.held_keys().into_iter().find(|(held, _)| held == key).map(|(_, remaining)| remaining)
    }

    /// Waits until the key's lease is released.
    pub(super) async fn released(&self, key: &Key) {
        // This hint does not depend on the owner, and ends at once for a key that is free.
        while self.remaining(key).is_some() {
            self.memory.hint(key, &OwnerToken::random()).await;
        }
    }

    /// An operation in memory, unless it is to fail when it is first polled.
    fn unless_failing<T: 'static>(&self, key: &Key, operation: StoreFuture<T>) -> StoreFuture<T> {
        let (store, key) = (self.clone(), key.clone());
        Box::pin(async move {
            match store.fault(&key) {
                Some(FaultKind::Fails(kind)) => Err(StoreError::new(kind, "the test lets the store fail")),
                _ => operation.await,
            }
        })
    }

    /// As [`unless_failing`](Self::unless_failing), with an answer for a key that another owner holds.
    fn unless_busy<T: Send + 'static>(
        &self,
        key: &Key,
        busy: T,
        operation: StoreFuture<T>,
    ) -> StoreFuture<T> {
        let (store, busy_key) = (self.clone(), key.clone());
        let operation = Box::pin(async move {
            if store.fault(&busy_key) == Some(FaultKind::Busy) { Ok(busy) } else { operation.await }
        });
        self.unless_failing(key, operation)
    }

    fn faults(&self) -> MutexGuard<'_, HashMap<Key, Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The other owner renews its lease all the time.
const REMAINING: Duration = DEFAULT_TTL;

impl Store for TestStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let busy = Acquired::busy(Some(REMAINING));
        self.unless_busy(key, busy, self.memory.acquire(key, owner, ttl, fenced))
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.unless_failing(key, self.memory.renew(key, owner, ttl))
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.unless_failing(key, self.memory.release(key, owner))
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let other = Holder::unknown(key.name()).with_remaining(Some(REMAINING));
        self.unless_busy(key, Some(other), self.memory.inspect(key))
    }

    fn list(&self, namespace: &str, prefix: &str) -> HolderPages {
        self.memory.list(namespace, prefix)
    }

    fn break_lock(&self, key: &Key, holder: HolderId) -> StoreFuture<bool> {
        self.unless_busy(key, false, self.memory.break_lock(key, holder))
    }

    fn hint(&self, key: &Key, owner: &OwnerToken) -> HintFuture {
        // Made under the lock, so that an end between now and the first poll is not missed. A hint that did
        // not wait for the end would have waiters ask again at once, without end.
        let ended = self.faults().get(key).map(|fault| Arc::clone(&fault.ended).notified_owned());
        match ended {
            Some(ended) => Box::pin(async move {
                ended.await;
                Hint::MayBeFree
            }),
            None => self.memory.hint(key, owner),
        }
    }
}
