//! One lease as this process knows it: shared by its guard, its body and its keeper.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use crate::{
    error::{LockError, LostReason},
    key::Key,
    lease::{FencingToken, OwnerToken, valid_until},
    options::{OnLost, Options, RENEWALS_PER_TTL},
};

pub(crate) struct Held {
    pub(crate) key: Key,
    pub(crate) owner: OwnerToken,
    pub(crate) fence: Option<FencingToken>,
    pub(crate) ttl: Duration,
    pub(crate) on_lost: OnLost,
    /// An acquire with this owner token may yet reach the server: see [`Bid`](crate::bid::Bid).
    pub(crate) unsettled: bool,
    /// Whether the keeper renews it.
    pub(crate) renewed: bool,
    /// Where `max_hold` ends.
    hold_until: Option<Instant>,
    /// Where `at_least` ends.
    keep_until: Option<Instant>,
    state: Mutex<State>,
    ended: Notify,
}

struct State {
    valid_until: Instant,
    lost: Option<LostReason>,
    /// Where the keeper's schedule has it.
    alarm: Option<Alarm>,
}

/// A place in the keeper's schedule; the number tells leases of one instant apart.
pub(crate) type Alarm = (Instant, u64);

impl Held {
    /// A lease that was granted to an acquire sent at `sent`.
    pub(crate) fn new(
        key: Key,
        owner: OwnerToken,
        fence: Option<FencingToken>,
        options: &Options,
        sent: Instant,
        now: Instant,
        unsettled: bool,
    ) -> Self {
        Self {
            key,
            owner,
            fence,
            ttl: options.ttl,
            on_lost: options.on_lost,
            unsettled,
            renewed: options.renew,
            // One that is too far to be told is none.
            hold_until: options.max_hold.and_then(|hold| now.checked_add(hold)),
            keep_until: (!options.at_least.is_zero()).then(|| now + options.at_least),
            state: Mutex::new(State { valid_until: valid_until(sent, options.ttl), lost: None, alarm: None }),
            ended: Notify::new(),
        }
    }

    /// What is left of the validity, or why there is none. What was lost once stays lost.
    pub(crate) fn status(&self, now: Instant) -> Result<Duration, LostReason> {
        self.status_of(&mut self.state(), now)
    }

    fn status_of(&self, state: &mut State, now: Instant) -> Result<Duration, LostReason> {
        if let Some(reason) = state.lost {
            return Err(reason);
        }
        let reason = if self.hold_until.is_some_and(|until| until <= now) {
            LostReason::MaxHold
        } else if state.valid_until <= now {
            LostReason::Expired
        } else {
            return Ok(self.last_moment(state) - now);
        };
        state.lost = Some(reason);
        Err(reason)
    }

    /// Marks it as lost, unless it was before, and tells whoever listens.
    pub(crate) fn lose(&self, reason: LostReason) {
        self.state().lost.get_or_insert(reason);
        self.ended.notify_waiters();
    }

    /// A renewal sent at `sent` was confirmed; too late is too late.
    pub(crate) fn confirm(&self, sent: Instant, now: Instant) {
        let mut state = self.state();
        if self.status_of(&mut state, now).is_ok() {
            state.valid_until = state.valid_until.max(valid_until(sent, self.ttl));
        }
    }

    pub(crate) fn lost_error(&self, reason: LostReason) -> LockError {
        LockError::Lost { key: self.key.name().to_owned(), reason }
    }

    /// Ends when the lease is [lost](Self::lose); made before the status is read, it misses nothing.
    pub(crate) fn ended(&self) -> Notified<'_> {
        self.ended.notified()
    }

    /// How long the key is still to be kept for `at_least`.
    pub(crate) fn to_keep(&self, now: Instant) -> Option<Duration> {
        const WORTH_KEEPING: Duration = Duration::from_millis(1);
        self.keep_until?.checked_duration_since(now).filter(|rest| *rest >= WORTH_KEEPING)
    }

    /// When the keeper next has something to do for a lease renewed (or acquired) at `sent`.
    pub(crate) fn next_alarm(&self, sent: Instant) -> Instant {
        let last = self.deadline();
        if self.renewed { last.min(sent + self.renewal_interval()) } else { last }
    }

    pub(crate) fn renewal_interval(&self) -> Duration {
        self.ttl / RENEWALS_PER_TTL
    }

    /// The instant at which it is lost if nothing happens.
    pub(crate) fn deadline(&self) -> Instant {
        self.last_moment(&self.state())
    }

    fn last_moment(&self, state: &State) -> Instant {
        self.hold_until.map_or(state.valid_until, |until| until.min(state.valid_until))
    }

    /// Puts down the place in the keeper's schedule and gives back the one before.
    pub(crate) fn set_alarm(&self, alarm: Option<Alarm>) -> Option<Alarm> {
        std::mem::replace(&mut self.state().alarm, alarm)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
