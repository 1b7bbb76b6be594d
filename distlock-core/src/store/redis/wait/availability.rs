//! Whether the server has wait queues, which may change while a program runs.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{error::StoreError, events};

/// How long the waiters poll after the first refusal.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest time for which the waiters poll before the wait queues are tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Whether the server has wait queues, as far as this store knows.
///
/// A refusal need not be for good: an administrator may be changing the access rules. So the wait queues are
/// tried again after a while.
#[derive(Default)]
pub(super) struct Availability(Mutex<Option<Refusal>>);

/// The latest refusal. Each refusal sets it, and a command of a wait queue that works clears it.
struct Refusal {
    pause: Duration,
    try_again_at: Instant,
}

impl Availability {
    /// Whether the latest command of a wait queue was not refused.
    pub(super) fn is_given(&self) -> bool {
        self.refusal().is_none()
    }

    /// Whether a command of a wait queue is worth sending.
    pub(super) fn is_worth_trying(&self, now: impl FnOnce() -> Instant) -> bool {
        self.refusal().as_ref().is_none_or(|refusal| now() >= refusal.try_again_at)
    }

    /// Called when a command of a wait queue was refused. Until the pause is over, the waiters poll.
    pub(super) fn refused(&self, error: &StoreError, now: Instant) {
        let mut refusal = self.refusal();
        let pause = match &*refusal {
            // Another waiter asked at the same time.
            Some(Refusal { try_again_at, .. }) if now < *try_again_at => return,
            Some(Refusal { pause, .. }) => (*pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        if refusal.is_none() {
            events::queues_refused(error, pause);
        } else {
            events::queues_still_refused(error, pause);
        }
        *refusal = Some(Refusal { pause, try_again_at: now + pause });
    }

    /// Called when a command of a wait queue was answered.
    pub(super) fn worked(&self) {
        if self.refusal().take().is_some() {
            events::queues_back();
        }
    }

    fn refusal(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_queues_are_tried_again_after_pauses_that_double_up_to_a_minute() {
        let (availability, mut now) = (Availability::default(), Instant::now());
        for pause in [5, 10, 20, 40, 60, 60].map(Duration::from_secs) {
            assert!(availability.is_worth_trying(|| now));
            availability.refused(&StoreError::timed_out(), now);
            availability.refused(&StoreError::timed_out(), now);
            assert!(!availability.is_given());
            now += pause;
            assert!(!availability.is_worth_trying(|| now.checked_sub(Duration::from_millis(1)).unwrap()));
        }
        availability.worked();
        assert!(availability.is_given() && availability.is_worth_trying(|| now));
        availability.refused(&StoreError::timed_out(), now);
        assert!(availability.is_worth_trying(|| now + FIRST_PAUSE), "the pauses begin anew");
    }
}
