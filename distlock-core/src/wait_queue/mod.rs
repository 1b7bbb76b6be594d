//! Who may contend for a key, when, and what wakes them.
//!
//! However many tasks of this process wait for a key, one of them, the contender of the queue, talks to the store; the others stand behind it
//! in the order of their coming. The queue is tokio's mutex: fair, and whole when a waiter is dropped anywhere in it.

use std::{
    collections::HashMap,
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
    acquire::attempt::AcquireState,
    backoff::Backoff,
    keeper::Keeper,
    key::Key,
    store::{HandOver, Hint, HintFuture, NextWaiter},
    token::OwnerToken,
};

/// The queues of all keys that somebody in this process waits for.
#[derive(Default)]
pub(crate) struct WaitQueues {
    queues: Mutex<HashMap<Key, Arc<WaitQueue>>>,
}

#[derive(Default)]
struct WaitQueue {
    /// How many stand here.
    places: AtomicUsize,
    /// Who has it is the contender.
    turn: TurnMutex<()>,
    /// Told when this process has released the key.
    released: Notify,
    /// Told when a lease was left to the contender.
    local_hand_over: Notify,
    seen: Mutex<QueueState>,
}

/// What a contender leaves to those behind it.
#[derive(Default)]
struct QueueState {
    /// When the holder's lease ends, as the store last said.
    held_until: Option<Instant>,
    /// When the next attempt is due.
    retry: Option<Instant>,
    backoff: Option<Backoff>,
    /// The store keeps a line for the key.
    in_line: bool,
    /// Somebody of this process has the key, whose release is going to bring the contender along.
    held_here: bool,
    /// The contender, while it waits in the store's line or to be brought along.
    next: Option<NextWaiter>,
    /// What a contender has left behind that gave up.
    left: Option<AbandonedAttempt>,
    /// The ttl of a contender that takes over a lease of this process as it is.
    heir: Option<Duration>,
    /// A lease for the heir.
    local_hand_over: Option<LocalHandOver>,
    /// How many leases in a row have been taken over.
    local_hand_overs: u32,
}

/// What a contender leaves to the next that gives up: its place in the store's line, or its question.
pub(crate) struct AbandonedAttempt {
    pub(crate) state: AcquireState,
    pub(crate) ttl: Duration,
    pub(crate) fenced: bool,
    /// Since when it has waited.
    pub(crate) since: Instant,
    /// When to ask again all the same; `None` for now.
    pub(crate) check: Option<Instant>,
    pub(crate) checks: Backoff,
}

impl WaitQueues {
    /// Whether somebody in this process stands in line for the key.
    pub(crate) fn has_waiters(&self, key: &Key) -> bool {
        let queues = self.queues();
        !queues.is_empty() && queues.contains_key(key)
    }

    /// Whom a release of the key, which is about to be sent, is to bring along.
    pub(crate) fn next(&self, key: &Key) -> Option<NextWaiter> {
        let queue = self.queue(key)?;
        let mut seen = queue.seen();
        (seen.held_here, seen.local_hand_overs) = (false, 0);
        seen.next.take()
    }

    /// Gives a lease to the key's heir, without a word to the store; false when there is none, or it is the others' turn.
    pub(crate) fn hand_over_locally(
        &self,
        key: &Key,
        ttl: Duration,
        local_hand_over: impl FnOnce() -> Option<LocalHandOver>,
    ) -> bool {
        let Some(queue) = self.queue(key) else { return false };
        let mut seen = queue.seen();
        if seen.heir != Some(ttl) || seen.local_hand_overs == LOCAL_HAND_OVERS_IN_A_ROW {
            return false;
        }
        let Some(local_hand_over) = local_hand_over() else { return false };
        (seen.heir, seen.local_hand_over) = (None, Some(local_hand_over));
        seen.local_hand_overs += 1;
        queue.local_hand_over.notify_one();
        true
    }

    /// Wakes the contender of the key's line: this process has just released the key.
    pub(crate) fn released(&self, key: &Key) {
        if let Some(queue) = self.queue(key) {
            // It keeps until the contender next listens, so a release between the contender's attempt and its sleep is not missed.
            queue.released.notify_one();
        }
    }

    fn queue(&self, key: &Key) -> Option<Arc<WaitQueue>> {
        let queues = self.queues();
        if queues.is_empty() { None } else { queues.get(key).cloned() }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Key, Arc<WaitQueue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has woken a contender.
pub(crate) enum WakeReason {
    /// There may be a lease for it to [take_local_hand_over](QueuePlace::take_local_hand_over).
    LocalHandOver,
    Hint(Hint),
}

/// A lease that its holder leaves to another task of this process.
pub(crate) struct LocalHandOver {
    pub(crate) owner: OwnerToken,
    pub(crate) lease: HandOver,
}

/// Has the turn of its key.
pub(crate) type Turn<'a> = TurnGuard<'a, ()>;

/// A place in a key's line; dropping it leaves the line.
pub(crate) struct QueuePlace<'a> {
    pub(crate) keeper: &'a Keeper,
    pub(crate) key: &'a Key,
    queue: Arc<WaitQueue>,
}

impl<'a> QueuePlace<'a> {
    /// Stands at the end of the key's line.
    pub(crate) fn join(keeper: &'a Keeper, key: &'a Key) -> Self {
        let mut queues = keeper.shared().waiting.queues();
        let queue = Arc::clone(queues.entry(key.clone()).or_default());
        queue.places.fetch_add(1, Ordering::Relaxed);
        Self { keeper, key, queue }
    }

    /// Enqueue until all who came before have left the line.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        match self.queue.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => self.queue.turn.lock().await,
        }
    }

    /// Whether somebody of this process has the key.
    pub(crate) fn is_held_here(&self) -> bool {
        self.queue.seen().held_here
    }

    /// Has the contender brought along by a release of this process; false when there will be none.
    pub(crate) fn set_next(&self, next: NextWaiter) -> bool {
        let mut seen = self.queue.seen();
        seen.next = Some(next);
        seen.held_here
    }

    /// The contender waits no more.
    pub(crate) fn clear_next(&self) {
        self.queue.seen().next = None;
    }

    /// Leaves something to whoever comes next in this line; where nobody does, it ends with the line.
    pub(crate) fn leave(&self, left: AbandonedAttempt) {
        self.queue.seen().left = Some(left);
    }

    /// What the contender before has left.
    pub(crate) fn left(&self) -> Option<AbandonedAttempt> {
        self.queue.seen().left.take()
    }

    /// The contender takes over a lease of this ttl.
    pub(crate) fn expect(&self, ttl: Duration) {
        self.queue.seen().heir = Some(ttl);
    }

    /// A lease that was left to the contender.
    pub(crate) fn take_local_hand_over(&self) -> Option<LocalHandOver> {
        let mut seen = self.queue.seen();
        seen.heir = None;
        seen.local_hand_over.take()
    }

    /// Plans the attempt after the one that is about to be made, by whoever is the contender then: a line whose waiters give up one by one,
    /// also in the middle of an attempt, asks no oftener than one of them.
    pub(crate) fn schedule_retry(&self, now: Instant) {
        let mut seen = self.seen();
        let delay = seen.backoff.get_or_insert_with(polling).next_delay();
        seen.retry = Some(now + delay);
    }

    /// Notes what the store said of the holder's lease; it may lapse before the next attempt is due.
    pub(crate) fn note_holder(&self, remaining: Option<Duration>, now: Instant) {
        let mut seen = self.seen();
        seen.held_until = remaining.map(|left| now + left);
        let lapsed = seen.held_until.map(|until| until + ROUNDING);
        seen.retry = seen.retry.map(|retry| lapsed.map_or(retry, |lapsed| lapsed.min(retry)));
    }

    /// The store has us in its line, and tells us when the key is ours. When to ask again all the same: its word may get lost, and a holder
    /// that knows nothing of lines gives none.
    pub(crate) fn in_line(&self, now: Instant, checks: &mut Backoff) -> Instant {
        let mut seen = self.seen();
        seen.in_line = true;
        let lapsed = seen.held_until.map(|until| until + ROUNDING);
        let again = now + checks.next_delay();
        lapsed.map_or(again, |lapsed| lapsed.min(again))
    }

    /// Whether somebody else was seen to have the key since this line began.
    pub(crate) fn is_contended(&self) -> bool {
        self.seen().in_line
    }

    /// The key is ours: those behind wait for our release, and look now and then in case it does not come.
    pub(crate) fn granted(&self, now: Instant) {
        if self.is_alone() {
            return;
        }
        self.seen().backoff = None;
        self.schedule_retry(now);
        let mut seen = self.seen();
        (seen.held_here, seen.next) = (true, None);
        if seen.in_line {
            // The next is to stand in the store's line while we hold the key.
            seen.retry = None;
        }
    }

    /// When the next attempt is due; `None` for now.
    pub(crate) fn planned(&self) -> Option<Instant> {
        self.seen().retry
    }

    /// What is left of the holder's lease, as last seen by a contender.
    pub(crate) fn remaining(&self, now: Instant) -> Option<Duration> {
        self.seen().held_until.map(|until| until.saturating_duration_since(now))
    }

    /// Sleeps until the key is worth another attempt: released in this process, free by the store's hint, or, since a hint may never
    /// come, at `retry`; or until the store has handed it over. The seam between polling and whatever a store can do better.
    pub(crate) async fn wait_until_worth_asking(
        &self,
        hint: HintFuture,
        in_line: bool,
        retry: Instant,
    ) -> WakeReason {
        tokio::select! {
            biased;
            () = self.queue.local_hand_over.notified() => WakeReason::LocalHandOver,
            hint = hint => WakeReason::Hint(hint),
            // In the store's line a release of ours is heard of as any other.
            () = self.queue.released.notified(), if !in_line => WakeReason::Hint(Hint::MayBeFree),
            () = sleep_until(retry) => WakeReason::Hint(Hint::MayBeFree),
        }
    }

    /// Whether nobody else stands here.
    fn is_alone(&self) -> bool {
        self.queue.places.load(Ordering::Relaxed) == 1
    }

    fn seen(&self) -> MutexGuard<'_, QueueState> {
        self.queue.seen()
    }
}

impl WaitQueue {
    fn seen(&self) -> MutexGuard<'_, QueueState> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        let mut queues = self.keeper.shared().waiting.queues();
        // Places are made and given up under this lock only.
        if self.queue.places.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        queues.remove(self.key);
        drop(queues);
        if let Some(left) = self.left() {
            left.end(self.keeper, self.key);
        }
    }
}

impl AbandonedAttempt {
    /// Nobody goes on with it.
    pub(crate) fn end(mut self, keeper: &Keeper, key: &Key) {
        if let Some(cleanup) = self.state.cleanup(key, self.ttl) {
            keeper.clean_up(cleanup);
        }
    }
}

/// After so many leases in a row that were taken over, the key is released: those who wait in other processes are to have it too.
const LOCAL_HAND_OVERS_IN_A_ROW: u32 = 16;

/// Servers round what is left down to whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(1);

/// The delays of a contender that nobody tells anything.
fn polling() -> Backoff {
    Backoff::new(Duration::from_millis(4), Duration::from_millis(64)).with_jitter(0.5)
}

/// The delays of a contender that the store tells when the key is its own: in the end less than one question a second.
pub(crate) fn checking() -> Backoff {
    Backoff::new(Duration::from_millis(64), Duration::from_millis(1200)).with_jitter(0.15)
}
