//! Releases and renewals as commands to the store, sent again where that helps.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    error::{StoreError, StoreErrorKind},
    key::Key,
    lease::Lease,
    manager::Shared,
    store::StoreFuture,
    token::OwnerToken,
};

/// What is known of a key that may carry our owner token.
#[derive(Clone)]
pub(crate) struct PendingRelease {
    pub(crate) key: Key,
    pub(crate) owner: OwnerToken,
    /// After this the ttl has done it.
    pub(crate) until: Instant,
    /// An acquire may yet execute, so that "not the owner" today says nothing about tomorrow.
    pub(crate) in_doubt: bool,
    /// How long the key is to be kept for `at_least`.
    pub(crate) keep: Option<Duration>,
}

impl Shared {
    /// Releases a lease, again and again until the store has confirmed it or the ttl is over.
    pub(crate) async fn end(&self, lease: &PendingRelease) {
        let mut delay = Duration::from_millis(10);
        // After a failure: few try at a time, however many wait to be released.
        let mut permit = None;
        loop {
            let release = timeout_at(lease.until, self.release_once(&lease.key, &lease.owner, lease.keep));
            let answer = release.await.unwrap_or_else(|_| Err(StoreError::timed_out()));
            if answer.is_ok() {
                self.waiting.released(&lease.key);
                permit = None;
            }
            let error = match answer {
                Ok(released) if released == Some(true) || !lease.in_doubt => return,
                Ok(_) => None,
                Err(error) => Some(error),
            };
            let next = Instant::now() + delay;
            let hopeless = error.as_ref().is_some_and(|error| !error.is_transient());
            if next >= lease.until || hopeless {
                if let Some(error) = error {
                    self.count_failed_release(&lease.key, &error);
                }
                return;
            }
            if let Some(error) = error
                && permit.is_none()
            {
                permit = timeout_at(lease.until, self.retries.acquire()).await.ok().and_then(Result::ok);
                if permit.is_none() {
                    return self.count_failed_release(&lease.key, &error);
                }
            }
            sleep_until(next).await;
            delay = (delay * 2).min(Duration::from_secs(1));
        }
    }

    /// One release; with something left of `at_least`, the lease is shortened to it instead.
    ///
    /// Sent again when the connection broke under it, as an idle one does at its first use; "not the owner" then may be the first one's doing,
    /// and is `None`: not known.
    pub(crate) async fn release_once(
        &self,
        key: &Key,
        owner: &OwnerToken,
        keep: Option<Duration>,
    ) -> Result<Option<bool>, StoreError> {
        match self.send_release(key, owner, keep).await {
            Err(error) if error.kind() == StoreErrorKind::Disconnected => {
                self.release_again(key, owner, keep).await
            }
            answer => answer.map(Some),
        }
    }

    /// A release whose first sending ended with its connection.
    pub(crate) async fn release_again(
        &self,
        key: &Key,
        owner: &OwnerToken,
        keep: Option<Duration>,
    ) -> Result<Option<bool>, StoreError> {
        self.send_release(key, owner, keep).await.map(|released| released.then_some(true))
    }

    pub(crate) fn send_release(
        &self,
        key: &Key,
        owner: &OwnerToken,
        keep: Option<Duration>,
    ) -> StoreFuture<bool> {
        if let Some(rest) = keep {
            return self.store.renew(key, owner, rest);
        }
        match self.waiting.next(key) {
            Some(next) => self.store.release_and_hand_over(key, owner, next),
            None => self.store.release(key, owner),
        }
    }

    /// One renewal for the whole ttl, sent again when the connection broke under it.
    pub(crate) async fn renew_once(&self, held: &Lease) -> Result<bool, StoreError> {
        let send = || self.store.renew(&held.key, &held.owner, held.ttl);
        match send().await {
            Err(error) if error.kind() == StoreErrorKind::Disconnected => send().await,
            answer => answer,
        }
    }

    pub(crate) fn count_failed_release(&self, key: &Key, cause: &dyn std::fmt::Display) {
        self.failed_releases.fetch_add(1, Ordering::Relaxed);
        tracing::error!(key = key.name(), %cause, "lock not released: it ends with its ttl");
    }
}
