//! What is reported of a lease: its health, its loss, and how its hold has ended.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Certainty, Lease, LeaseState,
    health::LeaseHealth,
    hold::{Ended, Ending},
};
use crate::{
    clock::Moment,
    error::{LockError, LostReason},
    events::{Hold, HoldSpan, is_heard},
};

impl Lease {
    /// As [`check`](Self::check), after a poll of the body that has begun at `began`.
    pub(crate) fn check_after_poll(&self, began: Instant) -> Result<Certainty, LockError> {
        let now = Moment::now();
        let mut state = self.state();
        state.longest_pause = state.longest_pause.max(now.at.saturating_duration_since(began));
        let status = self.status_with_plan(&mut state, now);
        drop(state);
        self.certainty(status)
    }

    /// Notes by how much the keeper woke late.
    pub(crate) fn note_pause(&self, pause: Duration) {
        let mut state = self.state();
        state.longest_pause = state.longest_pause.max(pause);
    }

    /// How near the lease was to being lost.
    pub(crate) fn health(&self, now: Moment) -> LeaseHealth {
        let mut state = self.state();
        self.health_of(&mut state, now)
    }

    fn health_of(&self, state: &mut LeaseState, now: Moment) -> LeaseHealth {
        let left = self.status_of(state, now).unwrap_or_default();
        let margin = state.least_margin.min(left);
        LeaseHealth { margin, longest_pause: state.longest_pause, drift: self.drift }
    }

    /// Takes the loss that has yet to be reported.
    pub(crate) fn take_loss(&self) -> Option<LostReason> {
        self.state().take_loss()
    }

    /// Marks the lease as lost, because its guard has ended. Takes the loss that came before and has yet to
    /// be reported.
    pub(crate) fn close(&self) -> Option<LostReason> {
        let mut state = self.state();
        let loss = state.take_loss();
        state.lost.get_or_insert(LostReason::Expired);
        drop(state);
        self.changed.notify_waiters();
        loss
    }

    /// The span of the hold.
    pub(crate) fn span(&self) -> &HoldSpan {
        &self.span
    }

    /// Notes when and how the hold has ended, if that is to be reported and was not noted before.
    #[inline]
    pub(crate) fn end_hold(&self, now: impl FnOnce() -> Moment) {
        if is_heard() {
            self.note_end(now);
        }
    }

    fn note_end(&self, now: impl FnOnce() -> Moment) {
        let mut state = self.state();
        if state.ended.is_none() {
            let now = now();
            let health = self.health_of(&mut state, now);
            state.ended = Some(Ended { held: now.since(self.granted), health });
        }
    }

    /// Notes what has become of the release, if that is to be reported.
    pub(crate) fn set_ending(&self, ending: Ending) {
        if is_heard() {
            self.state().ending = ending;
        }
    }

    /// How the lease was held, once the hold has ended.
    pub(crate) fn hold(&self) -> Option<Hold> {
        let state = self.state();
        let Ended { held, health } = state.ended?;
        let outcome = match (state.lost, state.ending) {
            (Some(_), _) => "lost",
            (None, Ending::Background) => "released in the background",
            (None, Ending::Confirmed) => "released",
            (None, Ending::Unconfirmed) => "release failed",
            (None, Ending::HandedOver) => "handed over",
        };
        let LeaseHealth { margin, longest_pause, drift } = health;
        Some(Hold { outcome, held, margin, longest_pause, drift })
    }
}

impl LeaseState {
    fn take_loss(&mut self) -> Option<LostReason> {
        let is_reported = std::mem::replace(&mut self.is_loss_reported, true);
        self.lost.filter(|_| !is_reported)
    }
}
