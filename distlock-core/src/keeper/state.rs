//! What a keeper's handles and its task share: the schedule of leases, and the clean-ups that are to be done.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use crate::{
    clock::Moment,
    error::LostReason,
    lease::{Alarm, Cleanup, Lease},
    seam::RuntimeId,
    shared::Shared,
    store::StoreFuture,
    wait_queue::WaitQueues,
};

/// What a keeper's handles and its task share.
pub(super) struct KeeperState {
    pub(super) shared: Arc<Shared>,
    /// The waiters of this runtime.
    pub(super) wait_queues: WaitQueues,
    runtime: RuntimeId,
    schedule: Mutex<Schedule>,
    /// The task is gone, with its runtime. Set once by the end of the task, under the lock of the schedule.
    is_gone: AtomicBool,
    /// Notified when the task has something to do.
    pub(super) wake: Notify,
    /// Notified when nothing is in flight.
    pub(super) idle: Notify,
}

/// The leases in the order of their alarms, and the clean-ups.
#[derive(Default)]
pub(super) struct Schedule {
    alarms: BTreeMap<Alarm, Arc<Lease>>,
    /// Tells alarms of one instant apart.
    next_number: u64,
    /// Handles add to it, the task takes it.
    pub(super) cleanups: Vec<Cleanup>,
    /// Claims that have been sent. Handles add to it, the task takes it.
    pub(super) claims: Vec<SentClaim>,
    /// When the task wakes by itself; `None` for not at all. It is never later than the first alarm. An
    /// earlier alarm lowers it. The task sets it anew when its time has come. A removed alarm leaves it as it
    /// is: the task wakes once in vain instead of once for each lease that comes and goes.
    wakes_at: Option<Instant>,
    /// How often the task has looked through the lists.
    #[cfg(test)]
    pub(super) rounds: usize,
    /// Nothing is in flight. Only the task sets it.
    pub(super) is_idle: bool,
    /// No handle is left. The last handle sets it.
    pub(super) is_closing: bool,
}

/// The claim of a handed-over lease, under way.
pub(super) struct SentClaim {
    pub(super) lease: Arc<Lease>,
    pub(super) sent: Moment,
    pub(super) answer: StoreFuture<bool>,
}

impl KeeperState {
    pub(super) fn new(shared: Arc<Shared>, runtime: RuntimeId) -> Arc<Self> {
        Arc::new(Self {
            shared,
            wait_queues: WaitQueues::default(),
            runtime,
            schedule: Mutex::default(),
            is_gone: AtomicBool::new(false),
            wake: Notify::new(),
            idle: Notify::new(),
        })
    }

    /// Whether the task is gone. The answer holds as long as the caller has the schedule's lock. Each acquire
    /// asks once without the lock.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    pub(super) fn is_of_this_runtime(&self) -> bool {
        RuntimeId::current().is_ok_and(|current| current == self.runtime)
    }

    /// Takes a clean-up, or gives it back if no task is left to do it.
    pub(super) fn accept(&self, cleanup: Cleanup) -> Option<Cleanup> {
        let mut schedule = self.schedule();
        if self.is_gone() {
            return Some(cleanup);
        }
        schedule.cleanups.push(cleanup);
        drop(schedule);
        self.wake.notify_one();
        None
    }

    /// Closes the keeper when its task ends: every lease is lost, and every clean-up is left to the ttl.
    pub(super) fn close(&self) {
        let (leases, cleanups) = {
            let mut schedule = self.schedule();
            self.is_gone.store(true, Ordering::Release);
            self.idle.notify_waiters();
            (schedule.take_leases(), std::mem::take(&mut schedule.cleanups))
        };
        for lease in leases {
            lease.lose(LostReason::Shutdown);
        }
        for cleanup in cleanups {
            self.shared.count_failed_release(cleanup.key(), &"the runtime was shut down");
        }
    }

    pub(super) fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Schedule {
    /// Sets a lease's alarm in place of the one that it had. Answers whether the task would wake too late for
    /// it, and has to be woken.
    pub(super) fn set_alarm(&mut self, lease: &Arc<Lease>, at: Instant) -> bool {
        let alarm = (at, self.next_number);
        self.next_number += 1;
        if let Some(before) = lease.set_alarm(Some(alarm)) {
            self.alarms.remove(&before);
        }
        self.alarms.insert(alarm, Arc::clone(lease));
        let is_first = self.wakes_at.is_none_or(|wakes_at| at < wakes_at);
        if is_first {
            self.wakes_at = Some(at);
        }
        is_first
    }

    /// Removes a lease's alarm. Answers false if it had none.
    pub(super) fn remove_alarm(&mut self, lease: &Lease) -> bool {
        lease.set_alarm(None).is_some_and(|alarm| self.alarms.remove(&alarm).is_some())
    }

    /// Takes a lease whose alarm is due out of the schedule.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Arc<Lease>> {
        let entry = self.alarms.first_entry().filter(|entry| entry.key().0 <= now)?;
        let (alarm, lease) = entry.remove_entry();
        lease.set_alarm(None);
        lease.note_pause(now.saturating_duration_since(alarm.0));
        Some(lease)
    }

    /// Takes all leases out of the schedule.
    pub(super) fn take_leases(&mut self) -> Vec<Arc<Lease>> {
        let leases: Vec<_> = std::mem::take(&mut self.alarms).into_values().collect();
        for lease in &leases {
            lease.set_alarm(None);
        }
        leases
    }

    /// When the task is to wake next. Until the time that was set before has come, it stays.
    pub(super) fn next_wake_up(&mut self, now: Instant) -> Option<Instant> {
        if self.wakes_at.is_some_and(|wakes_at| wakes_at <= now) {
            self.wakes_at = self.alarms.first_key_value().map(|((at, _), _)| *at);
        }
        self.wakes_at
    }

    /// Whether no lease has an alarm.
    pub(super) fn is_empty(&self) -> bool {
        self.alarms.is_empty()
    }
}
