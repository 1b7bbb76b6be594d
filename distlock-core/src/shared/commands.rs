//! Releases and renewals as commands to the store, sent again where that helps.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::Shared;
use crate::{
    backoff::Backoff,
    error::StoreError,
    events,
    key::Key,
    lease::{Doubt, Lease, PendingRelease, Released},
    store::{StoreFuture, retry::send_again_once},
    token::OwnerToken,
    wait_queue::{WaitQueue, WaitQueues},
};

/// With less than this left of `at_least`, the key is released. Servers count whole milliseconds.
const WORTH_KEEPING: Duration = Duration::from_millis(1);

impl Shared {
    /// Releases a key, again and again until the store has confirmed it or the ttl is over.
    ///
    /// `queues` are those of the runtime that polls the future.
    pub(crate) async fn release_until_confirmed(&self, mut release: PendingRelease, queues: &WaitQueues) {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        // Held after a failure: while the store fails, few releases are sent again at a time, however many
        // are owed.
        let mut permit = None;
        loop {
            let PendingRelease { key, owner, until, doubt, keep_until, .. } = &release;
            let answer = timeout_at(
                *until,
                send_again_once(|| self.send_release(key, owner, *keep_until, queues.find(key).as_deref())),
            )
            .await;
            let (answer, resent) = answer.unwrap_or_else(|_| (Err(StoreError::timed_out()), true));
            let error = match answer {
                Ok(released) => {
                    queues.notify_released(key);
                    permit = None;
                    release.doubt = Released::judge(released, resent, *doubt).doubt;
                    if release.doubt == Doubt::None {
                        return;
                    }
                    None
                }
                Err(error) => {
                    events::store_failed(key, &error);
                    Some(error)
                }
            };
            let until = release.until;
            let again_at = Instant::now() + backoff.next_delay();
            let hopeless = error.as_ref().is_some_and(|error| !error.is_transient());
            if again_at >= until || hopeless {
                if let Some(error) = error {
                    self.give_up(&release, &error);
                }
                return;
            }
            if let Some(error) = error
                && permit.is_none()
            {
                permit = timeout_at(until, self.retries.acquire()).await.ok().and_then(Result::ok);
                if permit.is_none() {
                    return self.give_up(&release, &error);
                }
            }
            sleep_until(again_at).await;
        }
    }

    /// Leaves a key to its ttl.
    fn give_up(&self, release: &PendingRelease, error: &StoreError) {
        let PendingRelease { key, is_of_lease, .. } = release;
        if *is_of_lease {
            self.count_failed_release(key, error);
        } else {
            events::acquire_left_to_ttl(key, error);
        }
    }

    /// Makes the release command. It names the contender of `queue`, which must belong to the runtime that
    /// sends the command.
    ///
    /// Before `keep_until`, the lease is shortened to what is left until then. That is counted anew at each
    /// sending, so that a release that is tried again does not keep the key longer.
    pub(crate) fn send_release(
        &self,
        key: &Key,
        owner: &OwnerToken,
        keep_until: Option<Instant>,
        queue: Option<&WaitQueue>,
    ) -> StoreFuture<bool> {
        let rest = keep_until.map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(rest) = rest.filter(|rest| *rest >= WORTH_KEEPING) {
            return self.store.renew(key, owner, rest);
        }
        match queue.and_then(WaitQueue::take_next) {
            Some(next) => self.store.release_and_hand_over(key, owner, next),
            None => self.store.release(key, owner),
        }
    }

    /// Renews a lease once for its whole ttl, which claims it if it was handed over.
    pub(crate) async fn renew_once(&self, lease: &Lease) -> Result<bool, StoreError> {
        let Lease { key, owner, ttl, .. } = lease;
        if let Some(fence) = lease.fence_to_keep(Instant::now()) {
            // The lease does not depend on it: without the counter, the clock keeps tokens rising.
            if let Err(error) = self.store.raise_fence(key, owner, fence).await {
                events::fence_not_kept(key, &error);
            }
        }
        let send = || {
            if lease.is_unclaimed() {
                self.store.confirm_hand_over(key, owner, *ttl)
            } else {
                self.store.renew(key, owner, *ttl)
            }
        };
        send_again_once(send).await.0
    }
}
