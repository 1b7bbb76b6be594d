//! One task per manager and runtime that renews every held lease, and ends every lease that was dropped.
//!
//! It owns what must outlive a caller: acquires whose caller has gone, releases that a `Drop` could not wait for, releases that failed.
//! Callers only put things on its lists, so a `Drop` needs no runtime and never blocks.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    clock::Moment,
    error::{LostReason, StoreError},
    key::Key,
    lease::{Alarm, Lease},
    manager::Shared,
    runtime::PerRuntime,
    shared::commands::PendingRelease,
    store::{Acquired, StoreFuture},
};

/// The handle to a keeper; when the last is dropped the task finishes what it has and ends.
#[derive(Clone)]
pub(crate) struct Keeper(Arc<LastHandle>);

/// A manager's keepers.
pub(crate) type Keepers = PerRuntime<Keeper>;

struct KeeperState {
    shared: Arc<Shared>,
    /// The keepers of the other runtimes.
    others: Weak<Keepers>,
    runtime: Id,
    state: Mutex<State>,
    wake: Notify,
    /// Told when nothing is under way.
    idle: Notify,
}

#[derive(Default)]
struct State {
    alarms: BTreeMap<Alarm, Arc<Lease>>,
    next_alarm: u64,
    cleanups: Vec<Cleanup>,
    /// When the task wakes by itself; `None` for not at all.
    wakes_at: Option<Instant>,
    /// Nothing is under way.
    idle: bool,
    /// No handle is left.
    closing: bool,
    /// The task is gone, with its runtime.
    gone: bool,
}

/// Something that must be seen to its end without its caller.
pub(crate) enum Cleanup {
    /// An acquire whose caller has gone; if it is granted it is to be released.
    Acquire {
        pending: StoreFuture<Acquired>,
        lease: PendingRelease,
        /// Its owner stands in the store's line, or will when it is not granted.
        in_line: bool,
    },
    /// A lease to be released.
    Release(PendingRelease),
    /// A release that has been sent.
    Releasing { pending: StoreFuture<bool>, lease: PendingRelease },
}

/// What the task is waiting for.
enum Done {
    Renewed { held: Arc<Lease>, sent: Moment, answer: Result<bool, StoreError> },
    Cleanup,
}

/// Renewals under way at a time: enough to fill a connection's pipeline, few enough that each is answered within its time however many
/// leases fall due at once.
const RENEWALS_AT_ONCE: usize = 512;

/// What the task has on its hands.
#[derive(Default)]
struct InFlight {
    work: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// Leases to be renewed as soon as there is room.
    due: VecDeque<Arc<Lease>>,
    renewing: usize,
}

impl Keeper {
    /// The current runtime's keeper, started on first use.
    ///
    /// # Errors
    /// When there is no current runtime.
    pub(crate) fn of_this_runtime(shared: &Arc<Shared>, keepers: &Arc<Keepers>) -> Result<Self, StoreError> {
        keepers
            .get_or_make(|| Ok(Self::start(Arc::clone(shared), Arc::downgrade(keepers), &Handle::current())))
    }

    fn start(shared: Arc<Shared>, others: Weak<Keepers>, runtime: &Handle) -> Self {
        let lists = Arc::new(KeeperState {
            shared,
            others,
            runtime: runtime.id(),
            state: Mutex::default(),
            wake: Notify::new(),
            idle: Notify::new(),
        });
        // Made here and not in the task: a runtime that is shutting down drops the task before its first poll.
        let running = Running(Arc::clone(&lists));
        runtime.spawn(async move { running.0.run().await });
        Self(Arc::new(LastHandle(lists)))
    }

    fn lists(&self) -> &KeeperState {
        &self.0.0
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.lists().shared
    }

    /// Takes care of a lease until [`forget`](Self::untrack).
    pub(crate) fn track(&self, held: &Arc<Lease>, sent: Moment) {
        let at = held.next_alarm(sent);
        let mut state = self.lists().state();
        if state.gone {
            drop(state);
            held.lose(LostReason::Shutdown);
            return;
        }
        state.set_alarm(held, at);
        if state.wakes_at.is_none_or(|wakes_at| at < wakes_at) {
            self.lists().wake.notify_one();
        }
    }

    /// Stops taking care of a lease: it was released, or is about to be.
    pub(crate) fn untrack(&self, held: &Lease) {
        self.lists().state().remove_alarm(held);
    }

    /// Has something done in the background. A release goes to the current runtime's keeper when that is another one, because this one's
    /// runtime may stand still and the current one has begun to send it, if anybody has; an acquire under way stays with the runtime that it began on. Without a keeper that is not gone it is
    /// left to the ttl and counted.
    pub(crate) fn clean_up(&self, cleanup: Cleanup) {
        let here = || {
            let keepers = self.lists().others.upgrade().filter(|_| !self.lists().is_of_this_runtime())?;
            Self::of_this_runtime(self.shared(), &keepers).ok()
        };
        let give = |keeper: Option<Self>, cleanup| match keeper {
            Some(keeper) => keeper.lists().accept(cleanup),
            None => Err(cleanup),
        };
        let left = if matches!(cleanup, Cleanup::Acquire { .. }) {
            self.lists().accept(cleanup).or_else(|cleanup| give(here(), cleanup))
        } else {
            give(here(), cleanup).or_else(|cleanup| self.lists().accept(cleanup))
        };
        if let Err(cleanup) = left {
            self.shared().count_failed_release(&cleanup.lease().key, &"the runtime was shut down");
        }
    }
}

impl Keeper {
    /// Gives up every lease, and hands them over to be released.
    pub(crate) fn give_up_all(&self) -> Vec<Arc<Lease>> {
        let alarms = std::mem::take(&mut self.lists().state().alarms);
        let leases: Vec<_> = alarms.into_values().collect();
        for held in &leases {
            held.set_alarm(None);
            held.lose(LostReason::Shutdown);
        }
        leases
    }

    /// Enqueue until all cleanups are done.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.lists().idle.notified();
            {
                let state = self.lists().state();
                if state.gone || (state.idle && state.cleanups.is_empty()) {
                    return;
                }
            }
            idle.await;
        }
    }
}

impl Cleanup {
    fn lease(&self) -> &PendingRelease {
        let (Self::Release(lease) | Self::Releasing { lease, .. } | Self::Acquire { lease, .. }) = self;
        lease
    }
}

impl State {
    fn set_alarm(&mut self, held: &Arc<Lease>, at: Instant) {
        let alarm = (at, self.next_alarm);
        self.next_alarm += 1;
        if let Some(before) = held.set_alarm(Some(alarm)) {
            self.alarms.remove(&before);
        }
        self.alarms.insert(alarm, Arc::clone(held));
    }

    /// False when it was forgotten before.
    fn remove_alarm(&mut self, held: &Lease) -> bool {
        held.set_alarm(None).is_some_and(|alarm| self.alarms.remove(&alarm).is_some())
    }
}

impl KeeperState {
    fn is_of_this_runtime(&self) -> bool {
        Handle::try_current().is_ok_and(|current| current.id() == self.runtime)
    }

    /// Takes an cleanup, or gives it back when nobody is left to do it.
    fn accept(&self, cleanup: Cleanup) -> Result<(), Cleanup> {
        let mut state = self.state();
        if state.gone {
            return Err(cleanup);
        }
        state.cleanups.push(cleanup);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    async fn run(self: &Arc<Self>) {
        let mut in_flight = InFlight::default();
        loop {
            let wakes_at = {
                self.take_due(&mut in_flight);
                self.start_renewals(&mut in_flight);
                let mut state = self.state();
                for cleanup in std::mem::take(&mut state.cleanups) {
                    in_flight.work.push(Box::pin(self.cleanup(cleanup)));
                }
                if in_flight.work.is_empty() {
                    self.idle.notify_waiters();
                    if state.closing && state.alarms.is_empty() {
                        return;
                    }
                }
                state.idle = in_flight.work.is_empty();
                state.wakes_at = state.alarms.first_key_value().map(|((at, _), _)| *at);
                state.wakes_at
            };
            tokio::select! {
                // Whatever wakes the task, all lists are looked through: none can starve, and a schedule can be repeated.
                biased;
                Some(done) = in_flight.work.next() => {
                    if let Done::Renewed { held, sent, answer } = done {
                        in_flight.renewing -= 1;
                        self.apply_renewal(&held, sent, answer);
                    }
                }
                () = self.wake.notified() => {}
                () = alarm(wakes_at) => {}
            }
        }
    }

    /// Puts each lease whose alarm has rung in line for renewal, or gives it up when its time is over.
    fn take_due(&self, in_flight: &mut InFlight) {
        let now = Moment::now();
        let mut over = Vec::new();
        let mut state = self.state();
        while let Some(entry) = state.alarms.first_entry().filter(|entry| entry.key().0 <= now.at) {
            let held = entry.remove();
            held.set_alarm(None);
            if let Err(reason) = held.status(now) {
                over.push((held, reason));
            } else {
                // Until the renewal answers, only the lease's last moment is left to watch for.
                state.set_alarm(&held, held.deadline());
                if held.is_due() {
                    in_flight.due.push_back(held);
                }
            }
        }
        drop(state);
        for (held, reason) in over {
            lose(&held, reason);
        }
    }

    fn start_renewals(&self, in_flight: &mut InFlight) {
        while in_flight.renewing < RENEWALS_AT_ONCE {
            let Some(held) = in_flight.due.pop_front() else { return };
            // It may have been released or lost while it stood in line.
            if !held.has_alarm() {
                continue;
            }
            in_flight.renewing += 1;
            let sent = Moment::now();
            let shared = Arc::clone(&self.shared);
            in_flight.work.push(Box::pin(async move {
                // A hung answer must leave time for another try.
                let renewal = timeout(held.renewal_interval(), shared.renew_once(&held));
                let answer = renewal.await.unwrap_or_else(|_| Err(StoreError::timed_out()));
                Done::Renewed { held, sent, answer }
            }));
        }
    }

    fn apply_renewal(&self, held: &Arc<Lease>, sent: Moment, answer: Result<bool, StoreError>) {
        let at = match answer {
            Ok(true) => {
                held.confirm(sent, Moment::now());
                held.next_alarm(sent)
            }
            Ok(false) => {
                if self.state().remove_alarm(held) {
                    lose(held, LostReason::NotOwner);
                }
                return;
            }
            Err(error) => {
                tracing::debug!(key = held.key.name(), %error, "renewal failed, trying again");
                held.deadline().min(Instant::now() + retry_delay(held.ttl))
            }
        };
        let mut state = self.state();
        // Forgotten meanwhile means released: it must not come back.
        if state.remove_alarm(held) {
            state.set_alarm(held, at);
        }
    }

    fn cleanup(&self, cleanup: Cleanup) -> impl Future<Output = Done> + Send + use<> {
        // Counts the cleanup if the runtime ends before it does.
        let unfinished =
            Unfinished { shared: Arc::clone(&self.shared), key: Some(cleanup.lease().key.clone()) };
        async move {
            if let Some(lease) = outcome(&unfinished.shared, cleanup).await {
                unfinished.shared.end(&lease).await;
            }
            unfinished.finish();
            Done::Cleanup
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is left to release when an cleanup's command, if one is under way, has come to its end.
async fn outcome(shared: &Shared, cleanup: Cleanup) -> Option<PendingRelease> {
    let (pending, mut lease, in_line) = match cleanup {
        Cleanup::Release(lease) => return Some(lease),
        Cleanup::Releasing { pending, lease } => {
            let answer = pending.await;
            if answer.is_ok() {
                shared.waiting.released(&lease.key);
            }
            return match answer {
                Ok(true) if !lease.in_doubt => None,
                Ok(false) if !lease.in_doubt => {
                    shared.count_failed_release(&lease.key, &LostReason::NotOwner);
                    None
                }
                _ => Some(lease),
            };
        }
        Cleanup::Acquire { pending, lease, in_line } => (pending, lease, in_line),
    };
    let nothing_of_ours = match pending.await {
        Ok(Acquired::Granted { .. }) => return Some(lease),
        Ok(Acquired::Busy { .. }) if in_line => return Some(lease),
        Ok(Acquired::Busy { .. }) => true,
        Err(error) => !error.outcome_unknown(),
    };
    if nothing_of_ours && !lease.in_doubt {
        return None;
    }
    lease.in_doubt = true;
    Some(lease)
}

struct Unfinished {
    shared: Arc<Shared>,
    key: Option<Key>,
}

impl Unfinished {
    fn finish(mut self) {
        self.key = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.shared.count_failed_release(key, &"the runtime was shut down");
        }
    }
}

fn lose(held: &Lease, reason: LostReason) {
    held.lose(reason);
    tracing::warn!(key = held.key.name(), %reason, "lock lost");
}

/// Quick enough for several tries within the last two thirds of the ttl, slow enough for no storm.
fn retry_delay(ttl: Duration) -> Duration {
    (ttl / 30).clamp(Duration::from_millis(2), Duration::from_secs(1))
}

async fn alarm(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Ends with the task: a runtime that is shut down drops its tasks where they stand.
struct Running(Arc<KeeperState>);

impl Drop for Running {
    fn drop(&mut self) {
        let (alarms, cleanups) = {
            let mut state = self.0.state();
            state.gone = true;
            self.0.idle.notify_waiters();
            (std::mem::take(&mut state.alarms), std::mem::take(&mut state.cleanups))
        };
        for held in alarms.into_values() {
            held.lose(LostReason::Shutdown);
        }
        for cleanup in cleanups {
            self.0.shared.count_failed_release(&cleanup.lease().key, &"the runtime was shut down");
        }
    }
}

struct LastHandle(Arc<KeeperState>);

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.0.state().closing = true;
        self.0.wake.notify_one();
    }
}
