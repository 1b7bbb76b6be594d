//! A runtime's wait queues: which waiter of a key may ask the store, when, and what wakes it.
//!
//! Of all tasks of one manager and runtime that wait for a key, only the contender asks the store. The others
//! wait behind it in the order of their first polls. The runtimes of a process queue on the store as
//! processes do. A runtime may stand still, so no runtime depends on a task of another.
//!
//! # How it works
//! - The order is that of a tokio mutex, the *turn*. The mutex is fair, and a waiter can be dropped at any
//!   point without disturbing the order. The holder of the turn is the contender.
//! - [`QueueState`] holds everything that a contender must know from the previous one. It outlives both.
//! - A queue lives as long as it has waiters. They are counted under the lock of the map, so that no waiter
//!   joins a queue that is being removed.
//!
//! # Why nothing is lost
//! - `released`, `handed_over` and `released_elsewhere` keep one notification each until the contender
//!   listens. A release between the contender's attempt and its sleep is not missed. A hand-over by the store
//!   stays registered until a hint takes it.
//! - A contender that gives up leaves its attempt behind. The next contender goes on with it. The last waiter
//!   to leave removes the queue first, under the lock, and only then takes the attempt out: at that time no
//!   other waiter can come to it or leave another.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex as TurnMutex, MutexGuard as TurnGuard, Notify},
    time::{Instant, sleep_until},
};

use crate::{
    backoff::Backoff,
    key::Key,
    lease::LocalHandOver,
    seam::{self, Counted, HashMap},
    store::{Hint, HintFuture, NextWaiter},
};

mod state;

use state::QueueState;
pub(crate) use state::{AbandonedAttempt, SeenHolder};

/// The queues of all keys that a task of one runtime waits for.
#[derive(Default)]
pub(crate) struct WaitQueues {
    queues: Mutex<HashMap<Key, Arc<WaitQueue>>>,
}

/// The queue of one key.
#[derive(Default)]
pub(crate) struct WaitQueue {
    /// How many waiters are in the queue. Changed under the lock of the map only.
    waiters: AtomicUsize,
    /// Its holder is the contender.
    turn: TurnMutex<()>,
    /// Notified when this runtime has released the key.
    released: Notify,
    /// Notified when a lease was left to the contender.
    handed_over: Notify,
    /// Notified just before a task of another runtime releases a lease of this runtime, because that release
    /// does not name the contender; and when waiting is refused from now on.
    released_elsewhere: Notify,
    state: Mutex<QueueState>,
    _counted: Counted<{ seam::WAIT_QUEUES }>,
}

/// After this many local hand-overs in a row the key is released: waiters of other runtimes and processes are
/// to be served too.
const LOCAL_HAND_OVERS_IN_A_ROW: u32 = 16;

/// The delays between questions of a contender that the store tells when the key is its own: in the end less
/// than one question a second.
pub(crate) fn delays_between_checks() -> Backoff {
    Backoff::new(Duration::from_millis(64), Duration::from_millis(1200)).with_jitter(0.15)
}

impl WaitQueues {
    /// Whether a task of this runtime waits for the key.
    pub(crate) fn has_waiters(&self, key: &Key) -> bool {
        let queues = self.queues();
        !queues.is_empty() && queues.contains_key(key)
    }

    /// Wakes the key's contender: this runtime has just released the key.
    pub(crate) fn notify_released(&self, key: &Key) {
        if let Some(queue) = self.find(key) {
            queue.released.notify_one();
        }
    }

    /// Wakes the contender of every key, because waiting is refused from now on. Each waiter behind it finds
    /// that out when its turn comes.
    pub(crate) fn wake_all(&self) {
        for queue in self.queues().values() {
            queue.released_elsewhere.notify_one();
        }
    }

    /// Joins the end of the key's queue, until [`leave`](QueuePlace::leave).
    pub(crate) fn join<'a>(&'a self, key: &'a Key) -> QueuePlace<'a> {
        let mut queues = self.queues();
        let queue = Arc::clone(queues.entry(key.clone()).or_default());
        queue.waiters.fetch_add(1, Ordering::Relaxed);
        QueuePlace { queues: self, key, queue }
    }

    /// The key's queue; `None` if no task of this runtime waits for the key.
    pub(crate) fn find(&self, key: &Key) -> Option<Arc<WaitQueue>> {
        let queues = self.queues();
        if queues.is_empty() { None } else { queues.get(key).cloned() }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Key, Arc<WaitQueue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitQueue {
    /// Takes the waiter that the release about to be sent should hand the key to.
    pub(crate) fn take_next(&self) -> Option<NextWaiter> {
        let mut state = self.state();
        (state.held_here, state.local_hand_overs) = (false, 0);
        state.next.take()
    }

    /// Hands a lease to the contender, without a command to the store.
    ///
    /// Answers false if no contender takes a lease of this ttl as it is, if it is the other processes' turn,
    /// or if `make` makes no hand-over.
    pub(crate) fn hand_over_locally(
        &self,
        ttl: Duration,
        make: impl FnOnce() -> Option<LocalHandOver>,
    ) -> bool {
        let mut state = self.state();
        if state.accepts_local_hand_over != Some(ttl) || state.local_hand_overs == LOCAL_HAND_OVERS_IN_A_ROW {
            return false;
        }
        let Some(hand_over) = make() else { return false };
        (state.accepts_local_hand_over, state.local_hand_over) = (None, Some(hand_over));
        state.local_hand_overs += 1;
        self.handed_over.notify_one();
        true
    }

    /// Has the contender ask the store: another runtime releases a lease of this one, and names no waiter of
    /// it.
    pub(crate) fn note_released_elsewhere(&self) {
        if std::mem::replace(&mut self.state().held_here, false) {
            self.released_elsewhere.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a contender woke up.
pub(crate) enum WakeReason {
    /// There may be a lease to [take over](QueuePlace::take_local_hand_over).
    LocalHandOver,
    /// The store said so, or the contender is to ask it.
    Hint(Hint),
}

/// The right to be the contender of a key.
pub(crate) type Turn<'a> = TurnGuard<'a, ()>;

/// One waiter's place in a key's queue. Its owner must [leave](Self::leave) the queue.
pub(crate) struct QueuePlace<'a> {
    queues: &'a WaitQueues,
    key: &'a Key,
    queue: Arc<WaitQueue>,
}

impl QueuePlace<'_> {
    /// The turn, if no waiter came before.
    pub(crate) fn try_turn(&self) -> Option<Turn<'_>> {
        self.queue.turn.try_lock().ok()
    }

    /// Waits until all waiters that came before have left the queue.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        self.queue.turn.lock().await
    }

    /// Leaves the queue. The last waiter to leave gets what a contender abandoned, and has to clean it up.
    #[must_use = "an abandoned attempt has to be cleaned up"]
    pub(crate) fn leave(&self) -> Option<AbandonedAttempt> {
        let mut queues = self.queues.queues();
        if self.queue.waiters.fetch_sub(1, Ordering::Relaxed) > 1 {
            return None;
        }
        queues.remove(self.key);
        drop(queues);
        self.take_abandoned()
    }

    /// Leaves an attempt to the next contender.
    pub(crate) fn abandon(&self, attempt: AbandonedAttempt) {
        self.state().abandoned = Some(attempt);
    }

    /// Takes the attempt that the contender before has left.
    pub(crate) fn take_abandoned(&self) -> Option<AbandonedAttempt> {
        self.state().abandoned.take()
    }

    /// Whether a task of this runtime holds the key.
    pub(crate) fn is_held_here(&self) -> bool {
        self.state().held_here
    }

    /// Names the contender to the next release of this runtime. Answers false unless a holder of this runtime
    /// is known. A release takes the name even then.
    pub(crate) fn set_next(&self, next: NextWaiter) -> bool {
        let mut state = self.state();
        state.next = Some(next);
        state.held_here
    }

    /// Withdraws [`set_next`](Self::set_next).
    pub(crate) fn clear_next(&self) {
        self.state().next = None;
    }

    /// Lets a holder of this runtime leave its lease to the contender, if it has this ttl.
    pub(crate) fn accept_local_hand_over(&self, ttl: Duration) {
        self.state().accepts_local_hand_over = Some(ttl);
    }

    /// Takes the lease that was left to the contender, and accepts no other.
    pub(crate) fn take_local_hand_over(&self) -> Option<LocalHandOver> {
        let mut state = self.state();
        state.accepts_local_hand_over = None;
        state.local_hand_over.take()
    }

    /// Schedules the attempt after the one that is about to be made, for whichever waiter is the contender
    /// then.
    pub(crate) fn schedule_retry(&self, now: Instant) {
        self.state().schedule_retry(now);
    }

    /// When the next attempt is due; `None` for now.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.state().retry_at
    }

    /// Notes what the store answered about the holder's lease, which may lapse before the next attempt is
    /// due.
    pub(crate) fn note_holder(&self, seen: SeenHolder, now: Instant) {
        let mut state = self.state();
        state.refused_at = Some(now);
        state.holder = seen.holder;
        state.held_until = seen.remaining.and_then(|left| now.checked_add(left));
        state.retry_at = state.retry_at.map(|retry| state.at_the_latest(retry));
    }

    /// The holder as a contender last saw it, with what is left of its lease now.
    pub(crate) fn holder(&self, now: Instant) -> SeenHolder {
        let state = self.state();
        let remaining = state.held_until.map(|until| until.saturating_duration_since(now));
        SeenHolder { remaining, holder: state.holder.clone() }
    }

    /// Whether the store has answered since then that the key is held.
    pub(crate) fn was_refused_since(&self, instant: Instant) -> bool {
        self.state().refused_at.is_some_and(|at| at >= instant)
    }

    /// Notes that the contender is in the store's queue, or registered for a hand-over.
    ///
    /// Answers when to ask all the same: the message may be lost, and a holder of another library sends none.
    pub(crate) fn note_queued(&self, now: Instant, checks: &mut Backoff) -> Instant {
        let mut state = self.state();
        state.is_contended = true;
        state.at_the_latest(now + checks.next_delay())
    }

    /// Whether a contender of this queue was queued or registered at the store.
    pub(crate) fn is_contended(&self) -> bool {
        self.state().is_contended
    }

    /// Notes that the contender was granted the key. The waiters behind it wait for its release.
    pub(crate) fn note_granted(&self, now: Instant) {
        let is_alone = self.queue.waiters.load(Ordering::Relaxed) == 1;
        if is_alone {
            return;
        }
        let mut state = self.state();
        state.reset_polling();
        state.schedule_retry(now);
        (state.held_here, state.next) = (true, None);
        if state.is_contended {
            // The next contender is to be in the store's queue while this runtime holds the key.
            state.retry_at = None;
        }
    }

    /// Sleeps until the key is worth another attempt, until `retry_at` at the latest, or until it was handed
    /// over.
    ///
    /// A contender that is queued in the store hears of this runtime's releases as of any other, by a hint.
    pub(crate) async fn wait_until_worth_asking(
        &self,
        hint: HintFuture,
        is_queued: bool,
        retry_at: Instant,
    ) -> WakeReason {
        tokio::select! {
            biased;
            () = self.queue.handed_over.notified() => WakeReason::LocalHandOver,
            () = self.queue.released_elsewhere.notified() => WakeReason::Hint(Hint::MayBeFree),
            hint = hint => WakeReason::Hint(hint),
            () = self.queue.released.notified(), if !is_queued => WakeReason::Hint(Hint::MayBeFree),
            () = sleep_until(retry_at) => WakeReason::Hint(Hint::MayBeFree),
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.queue.state()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lease::AcquireState, token::OwnerToken};

    fn attempt() -> AbandonedAttempt {
        AbandonedAttempt {
            state: AcquireState { queued: true, ..AcquireState::new(OwnerToken::random()) },
            ttl: Duration::from_secs(1),
            fenced: false,
            waiting_since: Instant::now(),
            check_at: None,
            checks: delays_between_checks(),
        }
    }

    #[test]
    fn the_last_waiter_to_leave_gets_what_was_abandoned() {
        let (queues, key) = (WaitQueues::default(), Key::new("lock", "k").unwrap());
        let (contender, waiter) = (queues.join(&key), queues.join(&key));
        contender.abandon(attempt());
        assert!(contender.leave().is_none(), "another waiter may go on with it");
        assert!(queues.has_waiters(&key));
        assert!(waiter.leave().is_some());
        assert!(!queues.has_waiters(&key));
    }

    #[test]
    fn a_queue_is_removed_before_its_abandoned_attempt_is_handed_out() {
        let (queues, key) = (WaitQueues::default(), Key::new("lock", "k").unwrap());
        let place = queues.join(&key);
        place.abandon(attempt());
        let queue = Arc::clone(&place.queue);
        let blocked = queue.state();
        std::thread::scope(|scope| {
            let leaving = scope.spawn(|| place.leave().is_some());
            // The waiter cannot take the attempt while the state is locked, and the queue goes all the same.
            let deadline = Instant::now() + Duration::from_secs(5);
            while queues.has_waiters(&key) && Instant::now() < deadline {
                std::thread::yield_now();
            }
            let is_removed = !queues.has_waiters(&key);
            let newcomer = queues.join(&key);
            assert!(newcomer.take_abandoned().is_none(), "a newcomer has a queue of its own");
            assert!(newcomer.leave().is_none());
            drop(blocked);
            assert!(leaving.join().unwrap());
            assert!(is_removed, "the attempt was taken out first");
        });
    }
}
