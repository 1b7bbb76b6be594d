//! A store of one's own: everything that distlock can do, on a lock server that distlock does not know.
//!
//! The "server" is a struct behind a mutex, so that the example is about the [`Store`] trait and not about a
//! protocol. `server` has what a server does: leases, wait queues and fencing tokens, with the time as an
//! argument. This file has what a client does: it turns each operation into one request, and waits for news.
//!
//! The tests run the published contract over it:
//! [`distlock_store_tests`](https://docs.rs/distlock-store-tests).
#![forbid(unsafe_code)]

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use distlock::{
    Acquired, Enqueue, FencingToken, Hint, HintFuture, Holder, HolderId, HolderPages, Key, NextWaiter,
    OwnerToken, Store, StoreError, StoreErrorKind, StoreFuture,
};
use tokio::{sync::Notify, time::Instant};

use crate::server::{Ask, Fence, Server, Waiter};

mod server;

/// A handle on a lock server. Every clone is a client of its own.
#[derive(Clone, Default)]
pub struct QueueStore {
    server: Arc<Mutex<Server>>,
}

impl QueueStore {
    /// A client of a new server without leases.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request and its answer.
    ///
    /// The future owns the client, so that it can be finished by another task, and does nothing before its
    /// first poll. A client of a real server sends the request here. It maps each failure to the
    /// [`StoreErrorKind`] that tells whether the request may have been executed, and never to "busy" or "not
    /// the owner".
    fn request<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Server, Instant) -> T + Send + 'static,
    ) -> StoreFuture<T> {
        let client = self.clone();
        Box::pin(async move {
            let mut server = client.server.lock().map_err(|_| {
                StoreError::new(StoreErrorKind::Unavailable, "the lock server panicked in an earlier request")
            })?;
            Ok(operation(&mut server, Instant::now()))
        })
    }
}

impl Store for QueueStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let fence = if fenced { Fence::Draw } else { Fence::None };
        let (key, ask) = (key.clone(), Ask { owner: *owner, ttl, fence });
        self.request(move |server, now| server.acquire(&key, ask, now))
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.request(move |server, now| server.renew(&key, owner, ttl, now))
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.request(move |server, now| server.release(&key, owner, None, now))
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let key = key.clone();
        self.request(move |server, now| server.holder(&key, now))
    }

    // For people who look after locks.

    fn list(&self, namespace: &str, prefix: &str) -> HolderPages {
        // Each page is one request, which goes on behind the key that the page before has ended with.
        let (client, scope) = (self.clone(), (namespace.to_owned(), prefix.to_owned()));
        HolderPages::new(Some(String::new()), move |after: Option<String>| {
            let (client, (namespace, prefix)) = (client.clone(), scope.clone());
            client.request(move |server, now| {
                let page = server.list(&namespace, &prefix, &after?, now);
                let next = page.last().map(|holder| holder.key.clone());
                Some((page, next))
            })
        })
    }

    fn break_lock(&self, key: &Key, holder: HolderId) -> StoreFuture<bool> {
        let key = key.clone();
        self.request(move |server, now| server.break_lock(&key, holder, now))
    }

    // For quorums of such stores.

    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        let (key, ask) = (key.clone(), Ask { owner: *owner, ttl, fence: Fence::Proposed(proposal) });
        self.request(move |server, now| server.acquire(&key, ask, now))
    }

    fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.request(move |server, now| server.raise_fence(&key, owner, fence, now))
    }

    fn take_again(
        &self,
        key: &Key,
        owner: &OwnerToken,
        rest_of_ttl: Duration,
        fence: Option<FencingToken>,
    ) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.request(move |server, now| server.take_again(&key, owner, rest_of_ttl, fence, now))
    }

    fn keeps_order(&self) -> bool {
        // A request is executed at its first poll.
        true
    }

    // For waiters: without what follows they poll.

    fn acquire_or_enqueue(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
        enqueue: Enqueue,
    ) -> StoreFuture<Acquired> {
        let fence = if fenced { Fence::Draw } else { Fence::None };
        let (key, ask) = (key.clone(), Ask { owner: *owner, ttl, fence });
        self.request(move |server, now| {
            server.acquire_or_enqueue(&key, Waiter::new(ask, enqueue.waiting_since, now), now)
        })
    }

    fn is_queued(&self, owner: &OwnerToken) -> bool {
        // A client of a real server keeps the owners that it has queued.
        self.server().is_queued(*owner)
    }

    fn register_waiter(&self, _key: &Key, owner: &OwnerToken) -> bool {
        self.server().register(*owner);
        true
    }

    fn release_and_hand_over(&self, key: &Key, owner: &OwnerToken, next: NextWaiter) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.request(move |server, now| {
            let fence = if next.fenced { Fence::Draw } else { Fence::None };
            let ask = Ask { owner: next.owner, ttl: next.ttl, fence };
            server.release(&key, owner, Some(Waiter::new(ask, next.waiting_since, now)), now)
        })
    }

    fn hint(&self, _key: &Key, owner: &OwnerToken) -> HintFuture {
        let (client, owner) = (self.clone(), *owner);
        Box::pin(async move {
            let Some(bell) = client.server().bell(owner) else { return pending().await };
            // The bell keeps what it rang before this future was made or polled.
            bell.notified().await;
            client.server().take_news(owner).map_or(Hint::MayBeFree, Hint::HandedOver)
        })
    }

    fn wait_for_change(&self, key: &Key) -> HintFuture {
        // Subscribed to before the first poll, so that a release in between is not missed.
        let freed = self.server().freed(key, Instant::now()).map(Notify::notified_owned);
        Box::pin(async move {
            match freed {
                Some(freed) => freed.await,
                None => pending().await,
            }
            Hint::MayBeFree
        })
    }
}
