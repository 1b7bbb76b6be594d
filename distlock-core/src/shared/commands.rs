//! Releases and renewals as commands to the store, sent again where that helps.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::Shared;
use crate::{
    backoff::Backoff,
    error::StoreError,
    key::Key,
    lease::{Doubt, Lease, PendingRelease, Released},
    store::{StoreFuture, retry::send_again_once},
    token::OwnerToken,
};

impl Shared {
    /// Releases a key, again and again until the store has confirmed it or the ttl is over.
    pub(crate) async fn release_until_confirmed(&self, mut release: PendingRelease) {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        // Held after a failure: while the store fails, few releases are sent again at a time, however many
        // are owed.
        let mut permit = None;
        loop {
            let PendingRelease { key, owner, until, doubt, keep } = &release;
            let answer = timeout_at(*until, send_again_once(|| self.send_release(key, owner, *keep))).await;
            let (answer, resent) = answer.unwrap_or_else(|_| (Err(StoreError::timed_out()), true));
            let error = match answer {
                Ok(released) => {
                    self.wait_queues.notify_released(key);
                    permit = None;
                    release.doubt = Released::judge(released, resent, *doubt).doubt;
                    if release.doubt == Doubt::None {
                        return;
                    }
                    None
                }
                Err(error) => Some(error),
            };
            let PendingRelease { key, until, .. } = &release;
            let again_at = Instant::now() + backoff.next_delay();
            let hopeless = error.as_ref().is_some_and(|error| !error.is_transient());
            if again_at >= *until || hopeless {
                if let Some(error) = error {
                    self.count_failed_release(key, &error);
                }
                return;
            }
            if let Some(error) = error
                && permit.is_none()
            {
                permit = timeout_at(*until, self.retries.acquire()).await.ok().and_then(Result::ok);
                if permit.is_none() {
                    return self.count_failed_release(key, &error);
                }
            }
            sleep_until(again_at).await;
        }
    }

    /// Makes the release command, with the waiter of this process that the key may be handed to.
    ///
    /// With something left of `at_least`, the lease is shortened to it instead.
    pub(crate) fn send_release(
        &self,
        key: &Key,
        owner: &OwnerToken,
        keep: Option<Duration>,
    ) -> StoreFuture<bool> {
        if let Some(rest) = keep {
            return self.store.renew(key, owner, rest);
        }
        match self.wait_queues.take_next(key) {
            Some(next) => self.store.release_and_hand_over(key, owner, next),
            None => self.store.release(key, owner),
        }
    }

    /// Renews a lease once for its whole ttl.
    pub(crate) async fn renew_once(&self, lease: &Lease) -> Result<bool, StoreError> {
        send_again_once(|| self.store.renew(&lease.key, &lease.owner, lease.ttl)).await.0
    }
}
