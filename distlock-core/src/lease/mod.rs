//! The lease as this process knows it: shared by its guard, its body and its keeper.
//!
//! - [`validity`](self::validity) is the arithmetic: how long a lease may be believed in.
//! - [`acquire_state`] is what is known of acquires before there is a lease.
//! - [`cleanup`] is what is owed to the store afterwards.
//! - [`health`] is how near a lease was to being lost, `hold` how it ended, and `report` tells both.
//! - [`hand_over`] passes a lease to another task of this runtime.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use crate::{
    clock::Moment,
    error::{LockError, LostReason},
    events::HoldSpan,
    key::Key,
    limits::{KEEP_FENCE_EVERY, RENEWALS_PER_TTL},
    options::{OnLost, Options, Release},
    seam::{self, Counted},
    store::HandOver,
    token::{FencingToken, OwnerToken},
};

mod acquire_state;
mod cleanup;
mod hand_over;
mod health;
mod hold;
mod report;
mod validity;

pub(crate) use acquire_state::{AcquireState, PendingAcquire};
pub(crate) use cleanup::{Cleanup, Doubt, PendingRelease, Released};
pub(crate) use hand_over::LocalHandOver;
pub use health::LeaseHealth;
use hold::Ended;
pub(crate) use hold::Ending;
use validity::{drift, validity};

/// A granted lease.
pub(crate) struct Lease {
    pub(crate) key: Key,
    pub(crate) owner: OwnerToken,
    pub(crate) fence: Option<FencingToken>,
    pub(crate) ttl: Duration,
    pub(crate) on_lost: OnLost,
    pub(crate) release: Release,
    /// An acquire with this owner token was not answered, so that it may yet run on the server.
    pub(crate) in_doubt: bool,
    /// Whether the keeper renews the lease for as long as it is held.
    renews: bool,
    granted: Moment,
    /// See [`LeaseHealth::drift`].
    drift: Option<f64>,
    /// How long the lease may be held in all, counted from the grant.
    max_hold: Option<Duration>,
    /// How long the key stays taken at the least, counted from the grant; zero for no such time.
    at_least: Duration,
    /// Set when nothing is left to release: by a confirmed release, or when a clean-up or another task has
    /// taken over.
    pub(crate) released: AtomicBool,
    /// The release shortens the lease to `at_least`. Set just before it is sent, never cleared.
    shortened: AtomicBool,
    /// How many bodies run under the lease. [`BodyCount`] counts up and down.
    bodies: AtomicUsize,
    /// Notified when the last body has ended.
    empty: Notify,
    span: HoldSpan,
    /// Notified when the lease is lost, and when its claim is confirmed.
    changed: Notify,
    state: Mutex<LeaseState>,
    _counted: Counted<{ seam::LEASES }>,
}

struct LeaseState {
    /// The moment before the latest confirmed acquire or renewal was sent. Set with `lasts` and `valid`.
    sent: Moment,
    /// How long the lease lasts from `sent`: the ttl, or less after a hand-over that was not renewed yet.
    lasts: Duration,
    /// How long the lease may be believed in from `sent`.
    valid: Duration,
    /// How long the lease is certain from `sent`, for a hand-over that the store has not confirmed yet: after
    /// that the next waiter may have been served. A confirmed claim or renewal clears it.
    unclaimed: Option<Duration>,
    /// When the store's counter of a fenced lease was last told to last. Set by the grant and by
    /// [`Lease::fence_to_keep`].
    fence_kept: Instant,
    /// The least that was left of the validity when a renewal was confirmed. Each confirmation lowers it.
    least_margin: Duration,
    /// The longest pause that was seen. A poll of a body and the keeper raise it.
    longest_pause: Duration,
    /// Why the lease was lost. Set once, never cleared.
    lost: Option<LostReason>,
    /// The loss was reported, or the guard has ended. Set by `take_loss`, never cleared.
    is_loss_reported: bool,
    /// The end of the hold. Set by the first call of `end_hold`, never cleared.
    ended: Option<Ended>,
    /// How the hold ended, unless the lease was lost. Set by `set_ending` when the release has its answer.
    ending: Ending,
    /// A loss that a test has planned. Set before the lease has a guard. [`Lease::status`] takes it.
    #[cfg(feature = "testing")]
    planned_loss: Option<LostReason>,
    /// Where the keeper's schedule has the lease. Only the keeper sets and clears it.
    alarm: Option<Alarm>,
}

/// A place in the keeper's schedule. The number tells leases of one instant apart.
pub(crate) type Alarm = (Instant, u64);

/// How long a lease lasts, and from when.
#[derive(Clone, Copy)]
pub(crate) struct Term {
    /// A moment not later than the grant.
    pub(crate) sent: Moment,
    pub(crate) lasts: Duration,
    /// See [`HandOver::claim_within`].
    pub(crate) claim_within: Option<Duration>,
}

/// The parts of a grant that the store answered.
pub(crate) struct Grant {
    pub(crate) owner: OwnerToken,
    pub(crate) fence: Option<FencingToken>,
    pub(crate) term: Term,
    /// See [`Lease::in_doubt`].
    pub(crate) in_doubt: bool,
    /// See [`LeaseHealth::drift`].
    pub(crate) drift: Option<f64>,
}

/// By how much of the interval chance may bring a lease's first renewal forward. A lease that is held for
/// less than the rest of the interval is never renewed.
const LARGEST_PART_EARLY: f64 = 0.75;

impl Lease {
    /// A lease whose grant was heard of at `heard`.
    pub(crate) fn new(key: Key, options: &Options, grant: &Grant, heard: Moment) -> Self {
        let Term { sent, lasts, claim_within } = grant.term;
        let unclaimed = claim_within.map(|within| within.saturating_sub(drift(lasts)));
        Self {
            owner: grant.owner,
            fence: grant.fence,
            ttl: options.ttl,
            on_lost: options.on_lost,
            release: options.release,
            in_doubt: grant.in_doubt,
            renews: options.renew,
            granted: heard,
            drift: grant.drift,
            max_hold: options.max_hold,
            at_least: options.at_least,
            released: AtomicBool::new(false),
            shortened: AtomicBool::new(false),
            bodies: AtomicUsize::new(0),
            empty: Notify::new(),
            span: HoldSpan::begin(&key),
            key,
            changed: Notify::new(),
            state: Mutex::new(LeaseState {
                sent,
                lasts,
                valid: validity(lasts),
                unclaimed,
                fence_kept: heard.at,
                least_margin: Duration::MAX,
                longest_pause: Duration::ZERO,
                lost: None,
                is_loss_reported: false,
                ended: None,
                ending: Ending::default(),
                #[cfg(feature = "testing")]
                planned_loss: None,
                alarm: None,
            }),
            _counted: Counted::default(),
        }
    }

    /// When the grant was heard of.
    pub(crate) fn granted_at(&self) -> Instant {
        self.granted.at
    }

    /// What is certain to be left of the validity, or why the lease was lost. A lease that was lost once
    /// stays lost.
    ///
    /// It is zero, and the lease is not lost, if a hand-over was not confirmed in time and may yet be.
    pub(crate) fn status(&self, now: Moment) -> Result<Duration, LostReason> {
        self.status_with_plan(&mut self.state(), now)
    }

    /// The status, after the loss that a test has planned.
    fn status_with_plan(&self, state: &mut LeaseState, now: Moment) -> Result<Duration, LostReason> {
        #[cfg(feature = "testing")]
        if let Some(reason) = state.planned_loss.take() {
            state.lost.get_or_insert(reason);
        }
        self.status_of(state, now)
    }

    /// Whether the lease is certain to be valid now.
    ///
    /// # Errors
    /// When it was lost.
    pub(crate) fn check(&self) -> Result<Certainty, LockError> {
        self.certainty(self.status(Moment::now()))
    }

    /// As [`check`](Self::check), before a poll of the body. A planned loss comes after its first poll.
    pub(crate) fn check_before_poll(&self, now: Moment) -> Result<Certainty, LockError> {
        let status = self.status_of(&mut self.state(), now);
        self.certainty(status)
    }

    fn certainty(&self, status: Result<Duration, LostReason>) -> Result<Certainty, LockError> {
        match status {
            Ok(Duration::ZERO) => Ok(Certainty::Unconfirmed),
            Ok(_) => Ok(Certainty::Valid),
            Err(reason) => Err(self.lost_error(reason)),
        }
    }

    fn status_of(&self, state: &mut LeaseState, now: Moment) -> Result<Duration, LostReason> {
        if let Some(reason) = state.lost {
            return Err(reason);
        }
        let valid = state.valid.saturating_sub(now.since(state.sent));
        let hold = self.max_hold.map(|hold| hold.saturating_sub(now.since(self.granted)));
        let reason = if hold.is_some_and(|hold| hold.is_zero()) {
            LostReason::MaxHold
        } else if valid.is_zero() {
            LostReason::Expired
        } else {
            let certain = state.unclaimed.map(|unclaimed| unclaimed.saturating_sub(now.since(state.sent)));
            let left = hold.map_or(valid, |hold| hold.min(valid));
            return Ok(certain.map_or(left, |certain| certain.min(left)));
        };
        state.lost = Some(reason);
        Err(reason)
    }

    /// Marks the lease as lost, unless it was lost before, and tells everybody who listens.
    pub(crate) fn lose(&self, reason: LostReason) {
        self.state().lost.get_or_insert(reason);
        self.changed.notify_waiters();
    }

    /// Plans the loss of a lease that has no guard yet: it comes after the first poll of a body under the
    /// lease, or when its guard is first asked.
    #[cfg(feature = "testing")]
    pub(crate) fn plan_loss(&self, reason: LostReason) {
        self.state().planned_loss = Some(reason);
    }

    /// Whether a body runs under the lease.
    #[cfg(feature = "testing")]
    pub(crate) fn has_body(&self) -> bool {
        self.bodies.load(Ordering::Acquire) > 0
    }

    /// Prolongs the lease: a renewal that was sent at `sent` was confirmed. A lease that is lost stays lost.
    pub(crate) fn confirm(&self, sent: Moment, now: Moment) {
        let mut state = self.state();
        // Answers may overtake each other.
        if self.status_of(&mut state, now).is_ok() && sent.at >= state.sent.at {
            let left = state.valid.saturating_sub(now.since(state.sent));
            state.least_margin = state.least_margin.min(left);
            (state.sent, state.lasts, state.valid) = (sent, self.ttl, validity(self.ttl));
            if state.unclaimed.take().is_some() {
                drop(state);
                self.changed.notify_waiters();
            }
        }
    }

    pub(crate) fn lost_error(&self, reason: LostReason) -> LockError {
        LockError::Lost { key: self.key.name().to_owned(), reason }
    }

    /// Ends when the lease is [lost](Self::lose), or its hand-over is confirmed. Made before the status is
    /// read, it misses nothing.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Whether the lease was handed over, and the store has not confirmed it yet.
    pub(crate) fn is_unclaimed(&self) -> bool {
        self.state().unclaimed.is_some()
    }

    /// Until when the key is to be kept for `at_least`; `None` if that time is over.
    pub(crate) fn keep_until(&self, now: Moment) -> Option<Instant> {
        if self.at_least.is_zero() {
            return None;
        }
        let rest = self.at_least.saturating_sub(now.since(self.granted));
        (!rest.is_zero()).then(|| now.at + rest)
    }

    /// When the keeper first has something to do for a lease that was acquired at `sent`.
    ///
    /// Chance brings the first renewal forward. So the renewals of leases that were acquired in one instant
    /// are spread over three quarters of the interval, then and ever after.
    pub(crate) fn first_alarm(&self, sent: Moment) -> Instant {
        self.alarm_after(sent, 1.0 - LARGEST_PART_EARLY * seam::fraction())
    }

    /// When the keeper next has something to do for a lease that was renewed at `sent`.
    pub(crate) fn next_alarm(&self, sent: Moment) -> Instant {
        self.alarm_after(sent, 1.0)
    }

    /// The end of this part of the renewal interval, or the deadline.
    fn alarm_after(&self, sent: Moment, part: f64) -> Instant {
        let state = self.state();
        let deadline = self.deadline_of(&state);
        if !self.renews_in(&state) {
            return deadline;
        }
        deadline.min(sent.at + (state.lasts / RENEWALS_PER_TTL).mul_f64(part))
    }

    /// Whether the keeper is to renew the lease: always, or once.
    pub(crate) fn is_to_be_renewed(&self) -> bool {
        self.renews_in(&self.state())
    }

    fn renews_in(&self, state: &LeaseState) -> bool {
        // A handed-over lease is to be confirmed, so it is renewed once even with `renew = false`.
        self.renews || state.lasts < self.ttl || state.unclaimed.is_some()
    }

    /// The fencing token whose counter is due to be told to last, if it is. The caller tells the store.
    pub(crate) fn fence_to_keep(&self, now: Instant) -> Option<FencingToken> {
        let fence = self.fence?;
        let mut state = self.state();
        let is_due = now.saturating_duration_since(state.fence_kept) >= KEEP_FENCE_EVERY;
        is_due.then(|| {
            state.fence_kept = now;
            fence
        })
    }

    pub(crate) fn renewal_interval(&self) -> Duration {
        self.ttl / RENEWALS_PER_TTL
    }

    /// The instant at which the lease is lost if nothing happens.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline_of(&self.state())
    }

    fn deadline_of(&self, state: &LeaseState) -> Instant {
        let valid_until = state.sent.at + state.valid;
        // A deadline that overflows `Instant` counts as no deadline.
        let hold_until = self.max_hold.and_then(|hold| self.granted.at.checked_add(hold));
        hold_until.map_or(valid_until, |until| until.min(valid_until))
    }

    /// Whether a keeper has the lease in its schedule.
    pub(crate) fn has_alarm(&self) -> bool {
        self.state().alarm.is_some()
    }

    /// Puts the place in the keeper's schedule down, and gives back the one before.
    pub(crate) fn set_alarm(&self, alarm: Option<Alarm>) -> Option<Alarm> {
        std::mem::replace(&mut self.state().alarm, alarm)
    }

    /// What is to be released, and until when that is worth trying.
    pub(crate) fn pending_release(&self, now: Moment) -> PendingRelease {
        PendingRelease {
            key: self.key.clone(),
            owner: self.owner,
            until: now.at + self.ttl,
            doubt: self.doubt(),
            is_of_lease: true,
            keep_until: self.shorten(now),
        }
    }

    /// As [`keep_until`](Self::keep_until), for a release that is about to be sent.
    pub(crate) fn shorten(&self, now: Moment) -> Option<Instant> {
        let until = self.keep_until(now)?;
        self.shortened.store(true, Ordering::Release);
        Some(until)
    }

    /// Whether a release that shortens the lease was sent, or is about to be.
    pub(crate) fn is_shortened(&self) -> bool {
        self.shortened.load(Ordering::Acquire)
    }

    pub(crate) fn doubt(&self) -> Doubt {
        Doubt::new(self.in_doubt, true)
    }

    /// The lease for another task of this runtime; `None` if too little of it is left, or if it must end with
    /// its holder.
    pub(crate) fn local_hand_over(&self, now: Moment) -> Option<LocalHandOver> {
        let left = self.status(now).ok()?;
        if self.in_doubt || self.keep_until(now).is_some() {
            return None;
        }
        let LeaseState { sent, lasts, .. } = *self.state();
        let lease = HandOver::new(sent, lasts);
        (left > lasts / 2).then_some(LocalHandOver { owner: self.owner, lease, left_at: now })
    }

    /// Counts a body that runs under this lease, until the value is dropped.
    pub(crate) fn count_body(&self) -> BodyCount<'_> {
        self.bodies.fetch_add(1, Ordering::AcqRel);
        BodyCount(self)
    }

    /// Waits until no body runs under this lease.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            let empty = self.empty.notified();
            if self.bodies.load(Ordering::Acquire) == 0 {
                return;
            }
            empty.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, LeaseState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a lease that was not lost is certain to be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    Valid,
    /// The lease was handed over, and the store has not confirmed it in time: the next waiter may have been
    /// served. The answer, or the end of the ttl, decides.
    Unconfirmed,
}

/// Counts one body that runs under a lease.
pub(crate) struct BodyCount<'a>(&'a Lease);

impl Drop for BodyCount<'_> {
    fn drop(&mut self) {
        if self.0.bodies.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.empty.notify_waiters();
        }
    }
}
