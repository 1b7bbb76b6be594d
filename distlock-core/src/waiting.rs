//! Who may contend for a key, when, and what wakes them.
//!
//! However many tasks of this process wait for a key, one of them, the head of the queue, talks to the store; the others stand behind it
//! in the order of their coming. The queue is tokio's mutex: fair, and whole when a waiter is dropped anywhere in it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as TurnMutex, MutexGuard as TurnGuard, Notify},
    time::{Instant, sleep_until},
};

use crate::{
    key::Key,
    store::{Hint, HintFuture},
};

/// The queues of all keys that somebody in this process waits for.
#[derive(Default)]
pub(crate) struct Waiting {
    queues: Mutex<HashMap<Key, Arc<Queue>>>,
}

#[derive(Default)]
struct Queue {
    /// Who has it is the head.
    turn: TurnMutex<()>,
    /// Told when this process has released the key.
    released: Notify,
    seen: Mutex<Seen>,
}

/// What a head leaves to those behind it.
#[derive(Default)]
struct Seen {
    /// When the holder's lease ends, as the store last said.
    held_until: Option<Instant>,
    /// When the next attempt is due.
    retry: Option<Instant>,
    backoff: Backoff,
    /// The store keeps a line for the key.
    in_line: bool,
}

impl Waiting {
    /// Whether somebody in this process stands in line for the key.
    pub(crate) fn has_waiters(&self, key: &Key) -> bool {
        let queues = self.queues();
        !queues.is_empty() && queues.contains_key(key)
    }

    /// Stands at the end of the key's line.
    pub(crate) fn join(&self, key: &Key) -> Place<'_> {
        let queue = Arc::clone(self.queues().entry(key.clone()).or_default());
        Place { waiting: self, key: key.clone(), queue }
    }

    /// Wakes the head of the key's line: this process has just released the key.
    pub(crate) fn released(&self, key: &Key) {
        let queue = self.queues().get(key).cloned();
        if let Some(queue) = queue {
            // It keeps until the head next listens, so a release between the head's attempt and its sleep is not missed.
            queue.released.notify_one();
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Key, Arc<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a key's line; dropping it leaves the line.
pub(crate) struct Place<'a> {
    waiting: &'a Waiting,
    key: Key,
    queue: Arc<Queue>,
}

impl Place<'_> {
    /// Waits until all who came before have left the line.
    pub(crate) async fn turn(&self) -> TurnGuard<'_, ()> {
        match self.queue.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => self.queue.turn.lock().await,
        }
    }

    /// Plans the attempt after the one that is about to be made, by whoever is the head then: a line whose waiters give up one by one,
    /// also in the middle of an attempt, asks no oftener than one of them.
    pub(crate) fn plan(&self, now: Instant) {
        let mut seen = self.seen();
        let delay = seen.backoff.next();
        seen.retry = Some(now + delay);
    }

    /// Notes what the store said of the holder's lease; it may lapse before the next attempt is due.
    pub(crate) fn saw(&self, remaining: Option<Duration>, now: Instant) {
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
        let again = now + checks.next();
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
        self.seen().backoff = Backoff::of_polling();
        self.plan(now);
        let mut seen = self.seen();
        if seen.in_line {
            // The next is to stand in the store's line while we hold the key.
            seen.retry = None;
        }
    }

    /// When the next attempt is due; `None` for now.
    pub(crate) fn planned(&self) -> Option<Instant> {
        self.seen().retry
    }

    /// What is left of the holder's lease, as last seen by a head.
    pub(crate) fn remaining(&self, now: Instant) -> Option<Duration> {
        self.seen().held_until.map(|until| until.saturating_duration_since(now))
    }

    /// Sleeps until the key is worth another attempt: released in this process, free by the store's hint, or, since a hint may never
    /// come, at `retry`; or until the store has handed it over. The seam between polling and whatever a store can do better.
    pub(crate) async fn worth_a_try(&self, hint: HintFuture, in_line: bool, retry: Instant) -> Hint {
        tokio::select! {
            biased;
            hint = hint => hint,
            // In the store's line a release of ours is heard of as any other.
            () = self.queue.released.notified(), if !in_line => Hint::MayBeFree,
            () = sleep_until(retry) => Hint::MayBeFree,
        }
    }

    /// Whether nobody else stands here: two references are the map's and ours.
    fn is_alone(&self) -> bool {
        Arc::strong_count(&self.queue) == 2
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.queue.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queues = self.waiting.queues();
        // Places are made under this lock only, so nobody can join meanwhile.
        if self.is_alone() {
            queues.remove(&self.key);
        }
    }
}

/// How long a head sleeps between attempts when nothing wakes it: doubling, with jitter so that processes do not march in step.
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
    /// What part of a delay is left to chance.
    jitter: f64,
}

/// Servers round what is left down to whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(1);

impl Default for Backoff {
    fn default() -> Self {
        Self::of_polling()
    }
}

impl Backoff {
    /// Where nobody tells us anything.
    fn of_polling() -> Self {
        Self { next: Duration::from_millis(4), longest: Duration::from_millis(64), jitter: 0.5 }
    }

    /// Where the store tells us when the key is ours: in the end less than once a second.
    pub(crate) fn of_line() -> Self {
        Self { next: Duration::from_millis(64), longest: Duration::from_millis(1200), jitter: 0.15 }
    }

    /// The current delay, less a random part of it.
    fn next(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.longest);
        full.mul_f64(1.0 - self.jitter * fastrand::f64())
    }
}
