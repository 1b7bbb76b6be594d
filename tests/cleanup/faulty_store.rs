//! An in-memory store that panics or fails where a test says so.

use std::{
    future::ready,
    sync::{Arc, Mutex},
    time::Duration,
};

use distlock::{
    Acquired, Holder, Key, MemoryStore, OwnerToken, Store, StoreError, StoreErrorKind, StoreFuture,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Acquire,
    Renew,
    Release,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The operation runs, and its future panics, once.
    Panic(Operation),
    /// Renewals and releases are refused for the time being.
    Unavailable,
    /// No operation is answered in time.
    Silent,
    /// Releases reach the store after this time.
    SlowRelease(Duration),
    /// Releases are given up after this time, and reach the store after twice this time.
    Late(Duration),
}

#[derive(Clone, Default)]
pub(crate) struct FaultyStore {
    store: MemoryStore,
    fault: Arc<Mutex<Option<Fault>>>,
}

impl FaultyStore {
    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn with_fault<T: Send + 'static>(&self, operation: Operation, future: StoreFuture<T>) -> StoreFuture<T> {
        let mut fault = self.fault.lock().unwrap();
        match *fault {
            Some(Fault::Panic(of)) if of == operation => {
                *fault = None;
                Box::pin(async {
                    let _ = future.await;
                    panic!("the store panics, as the test wants")
                })
            }
            Some(Fault::Unavailable) if operation != Operation::Acquire => {
                Box::pin(ready(Err(StoreError::new(StoreErrorKind::Unavailable, "as the test wants"))))
            }
            Some(Fault::SlowRelease(delay)) if operation == Operation::Release => Box::pin(async move {
                tokio::time::sleep(delay).await;
                future.await
            }),
            Some(Fault::Late(delay)) if operation == Operation::Release => Box::pin(async move {
                tokio::spawn(async move {
                    tokio::time::sleep(delay * 2).await;
                    let _ = future.await;
                });
                tokio::time::sleep(delay).await;
                Err(StoreError::new(StoreErrorKind::TimedOut, "as the test wants"))
            }),
            Some(Fault::Silent) => {
                Box::pin(ready(Err(StoreError::new(StoreErrorKind::TimedOut, "as the test wants"))))
            }
            _ => future,
        }
    }
}

impl Store for FaultyStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.with_fault(Operation::Acquire, self.store.acquire(key, owner, ttl, fenced))
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.with_fault(Operation::Renew, self.store.renew(key, owner, ttl))
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.with_fault(Operation::Release, self.store.release(key, owner))
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.store.inspect(key)
    }
}
