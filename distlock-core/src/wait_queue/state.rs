//! What the contenders of one key leave to each other.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    backoff::Backoff,
    holder::Holder,
    key::Key,
    lease::{AcquireState, Cleanup, LocalHandOver},
    store::NextWaiter,
};

/// What one contender leaves to the next, and a holder to the contender.
#[derive(Default)]
pub(super) struct QueueState {
    /// When the holder's lease ends, as the store last said. Each answer of the store replaces it.
    pub(super) held_until: Option<Instant>,
    /// The holder, as the store last said. Set with `held_until`.
    pub(super) holder: Option<Box<Holder>>,
    /// When the store last answered that the key is held. Set with `held_until`.
    pub(super) refused_at: Option<Instant>,
    /// When the next attempt is due; `None` means at once. Set before each attempt, so that a queue whose
    /// waiters give up in the middle of their attempts asks no more often than one waiter.
    pub(super) retry_at: Option<Instant>,
    /// The delays between attempts where the store tells nothing. A grant clears it.
    polling: Option<Backoff>,
    /// A contender was queued or registered at the store. Set by `note_queued`, never cleared: it ends with
    /// this queue.
    pub(super) is_contended: bool,
    /// A task of this runtime was granted the key while others waited. Set by the grant. Cleared by a release
    /// command, or when another runtime releases. A release that only shortens the lease for `at_least` does
    /// not clear it.
    pub(super) held_here: bool,
    /// The contender, while a release of this runtime may hand the key to it. The contender sets it and
    /// clears it, and a release takes it.
    pub(super) next: Option<NextWaiter>,
    /// The attempt of a contender that gave up. The next contender takes it, or the last waiter to leave.
    pub(super) abandoned: Option<AbandonedAttempt>,
    /// The ttl of a contender that takes a lease of this runtime over as it is. The contender sets it and
    /// clears it, and a local hand-over takes it.
    pub(super) accepts_local_hand_over: Option<Duration>,
    /// A lease for that contender, which takes it.
    pub(super) local_hand_over: Option<LocalHandOver>,
    /// How many leases in a row were handed over locally. A release clears it.
    pub(super) local_hand_overs: u32,
}

/// A holder, as the store's answer to an acquire tells of it.
#[derive(Clone, Default)]
pub(crate) struct SeenHolder {
    /// What is left of its lease; `None` if the key has no expiry, or that is not known.
    pub(crate) remaining: Option<Duration>,
    /// The holder, where the store tells.
    pub(crate) holder: Option<Box<Holder>>,
}

/// Servers round what is left of a lease down to whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(1);

impl QueueState {
    /// Schedules the attempt after the one that is about to be made.
    pub(super) fn schedule_retry(&mut self, now: Instant) {
        let polling = || Backoff::new(Duration::from_millis(4), Duration::from_millis(64)).with_jitter(0.5);
        self.retry_at = Some(now + self.polling.get_or_insert_with(polling).next_delay());
    }

    /// Starts the delays between attempts over.
    pub(super) fn reset_polling(&mut self) {
        self.polling = None;
    }

    /// An instant, or an earlier one at which the holder's lease has lapsed.
    pub(super) fn at_the_latest(&self, instant: Instant) -> Instant {
        let lapsed = self.held_until.and_then(|until| until.checked_add(ROUNDING));
        lapsed.map_or(instant, |lapsed| instant.min(lapsed))
    }
}

/// What a contender that gives up leaves to the next: its entry in the store's wait queue, or its unanswered
/// acquire.
pub(crate) struct AbandonedAttempt {
    pub(crate) state: AcquireState,
    pub(crate) ttl: Duration,
    pub(crate) fenced: bool,
    pub(crate) waiting_since: Instant,
    /// When to ask the store again even if it says nothing; `None` for now.
    pub(crate) check_at: Option<Instant>,
    /// The delays between such questions.
    pub(crate) checks: Backoff,
}

impl AbandonedAttempt {
    /// What is left to do if no waiter goes on with the attempt.
    pub(crate) fn into_cleanup(mut self, key: &Key) -> Option<Cleanup> {
        self.state.take_cleanup(key, self.ttl)
    }
}
