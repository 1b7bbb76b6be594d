//! One lease as this process knows it: shared by its guard, its body and its keeper.

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
    key::Key,
    limits::RENEWALS_PER_TTL,
    options::{OnLost, Options, Release},
    shared::commands::PendingRelease,
    store::HandOver,
    token::{FencingToken, OwnerToken},
    wait_queue::LocalHandOver,
};

mod validity;

use validity::validity;

pub(crate) struct Lease {
    pub(crate) key: Key,
    pub(crate) owner: OwnerToken,
    pub(crate) fence: Option<FencingToken>,
    pub(crate) ttl: Duration,
    pub(crate) on_lost: OnLost,
    pub(crate) release: Release,
    /// An acquire with this owner token may yet reach the server: see [`AcquireOp`](crate::acquire::attempt::AcquireOp).
    pub(crate) in_doubt: bool,
    /// Whether the keeper renews it.
    pub(crate) renewed: bool,
    granted: Moment,
    /// Counted from the grant.
    max_hold: Option<Duration>,
    /// Counted from the grant; zero for none.
    at_least: Duration,
    /// Nothing is left to release.
    pub(crate) released: AtomicBool,
    /// Bodies that run under it.
    bodies: AtomicUsize,
    /// Told when the last body has left.
    left: Notify,
    state: Mutex<State>,
    ended: Notify,
}

/// A body under a lease.
pub(crate) struct BodyCount<'a>(&'a Lease);

impl Drop for BodyCount<'_> {
    fn drop(&mut self) {
        if self.0.bodies.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.left.notify_waiters();
        }
    }
}

struct State {
    /// When the acquire or renewal was sent that was last confirmed.
    sent: Moment,
    /// How long the lease lasts from then: the ttl, but less when it was handed over and has not been renewed since.
    lasts: Duration,
    /// How long it may be believed in from then.
    valid: Duration,
    lost: Option<LostReason>,
    /// Where the keeper's schedule has it.
    alarm: Option<Alarm>,
}

/// A place in the keeper's schedule; the number tells leases of one instant apart.
pub(crate) type Alarm = (Instant, u64);

impl Lease {
    /// A lease that was granted at some time after `sent`, for so long, as was heard at `granted`.
    pub(crate) fn new(
        key: Key,
        owner: OwnerToken,
        fence: Option<FencingToken>,
        options: &Options,
        (sent, lasts): (Moment, Duration),
        in_doubt: bool,
        granted: Moment,
    ) -> Self {
        Self {
            key,
            owner,
            fence,
            ttl: options.ttl,
            on_lost: options.on_lost,
            release: options.release,
            in_doubt,
            renewed: options.renew,
            granted,
            max_hold: options.max_hold,
            at_least: options.at_least,
            state: Mutex::new(State { sent, lasts, valid: validity(lasts), lost: None, alarm: None }),
            ended: Notify::new(),
            released: AtomicBool::new(false),
            bodies: AtomicUsize::new(0),
            left: Notify::new(),
        }
    }

    /// What is left of the validity, or why there is none. What was lost once stays lost.
    pub(crate) fn status(&self, now: Moment) -> Result<Duration, LostReason> {
        self.status_of(&mut self.state(), now)
    }

    /// That it is valid now.
    pub(crate) fn check(&self) -> Result<(), LockError> {
        self.status(Moment::now()).map(drop).map_err(|reason| self.lost_error(reason))
    }

    fn status_of(&self, state: &mut State, now: Moment) -> Result<Duration, LostReason> {
        if let Some(reason) = state.lost {
            return Err(reason);
        }
        let valid = state.valid.saturating_sub(now.since(state.sent));
        let hold = self.max_hold.map_or(Duration::MAX, |hold| hold.saturating_sub(now.since(self.granted)));
        let reason = if hold.is_zero() {
            LostReason::MaxHold
        } else if valid.is_zero() {
            LostReason::Expired
        } else {
            return Ok(valid.min(hold));
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
    pub(crate) fn confirm(&self, sent: Moment, now: Moment) {
        let mut state = self.state();
        if self.status_of(&mut state, now).is_ok() {
            // Answers may overtake each other.
            if sent.at > state.sent.at {
                (state.sent, state.lasts, state.valid) = (sent, self.ttl, validity(self.ttl));
            }
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
    pub(crate) fn to_keep(&self, now: Moment) -> Option<Duration> {
        const WORTH_KEEPING: Duration = Duration::from_millis(1);
        let rest = self.at_least.saturating_sub(now.since(self.granted));
        (rest >= WORTH_KEEPING).then_some(rest)
    }

    /// When the keeper next has something to do for a lease renewed (or acquired) at `sent`.
    pub(crate) fn next_alarm(&self, sent: Moment) -> Instant {
        let last = self.deadline();
        let lasts = self.state().lasts;
        // Also one that is not to be renewed is claimed for its whole ttl.
        if self.renewed || lasts < self.ttl { last.min(sent.at + lasts / RENEWALS_PER_TTL) } else { last }
    }

    /// Whether the keeper is to renew it: always, or once, because it lasts less than its ttl.
    pub(crate) fn is_due(&self) -> bool {
        self.renewed || self.state().lasts < self.ttl
    }

    pub(crate) fn renewal_interval(&self) -> Duration {
        self.ttl / RENEWALS_PER_TTL
    }

    /// The instant at which it is lost if nothing happens.
    pub(crate) fn deadline(&self) -> Instant {
        let valid_until = {
            let state = self.state();
            state.sent.at + state.valid
        };
        // One that is too far to be told is none.
        let hold_until = self.max_hold.and_then(|hold| self.granted.at.checked_add(hold));
        hold_until.map_or(valid_until, |until| until.min(valid_until))
    }

    /// Whether a keeper has it.
    pub(crate) fn has_alarm(&self) -> bool {
        self.state().alarm.is_some()
    }

    /// What is to be released, and until when that is worth trying.
    pub(crate) fn pending_release(&self, now: Moment) -> PendingRelease {
        PendingRelease {
            key: self.key.clone(),
            owner: self.owner,
            until: now.at + self.ttl,
            in_doubt: self.in_doubt,
            keep: self.to_keep(now),
        }
    }

    /// The lease for another task of this process to take over as it is; `None` when it is too short for that, or was not for him.
    pub(crate) fn local_hand_over(&self, now: Moment) -> Option<LocalHandOver> {
        let left = self.status(now).ok()?;
        if self.in_doubt || self.to_keep(now).is_some() {
            return None;
        }
        let State { sent, lasts, .. } = *self.state();
        let lease = HandOver { fence: None, since: sent, lasts };
        (left > lasts / 2).then_some(LocalHandOver { owner: self.owner, lease })
    }

    /// Marks a body as running under this lease until the value is dropped.
    pub(crate) fn enter(&self) -> BodyCount<'_> {
        self.bodies.fetch_add(1, Ordering::AcqRel);
        BodyCount(self)
    }

    /// Enqueue until no body runs under this lease.
    pub(crate) async fn empty(&self) {
        loop {
            let left = self.left.notified();
            if self.bodies.load(Ordering::Acquire) == 0 {
                return;
            }
            left.await;
        }
    }

    /// Puts down the place in the keeper's schedule and gives back the one before.
    pub(crate) fn set_alarm(&self, alarm: Option<Alarm>) -> Option<Alarm> {
        std::mem::replace(&mut self.state().alarm, alarm)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
