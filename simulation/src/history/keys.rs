//! The keys as the server has them, while calls wait for them.

use super::{CallRecord, History, lock_name};
use crate::{
    plan::Wait,
    server::data::{Data, Value, in_order},
};

/// A key as the server has it.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyWatch {
    /// The name of the lock on the server.
    lock: String,
    /// Since when the key has been free while a live call waited for it.
    free_since: Option<u64>,
    /// The longest time of that, with when it ended.
    worst: (u64, u64),
    worst_after_faults: (u64, u64),
    /// The longest time for which nobody has used it while a live call waited.
    worst_unused: u64,
}

impl KeyWatch {
    pub(super) fn new(key: usize) -> Self {
        Self { lock: lock_name(key), ..Self::default() }
    }
}

impl History {
    /// The waiters of each key in their order, where that order is checked: in schedules without faults.
    #[must_use]
    pub fn queues(&self, data: &Data) -> Vec<Vec<Vec<u8>>> {
        if !self.is_quiet {
            return Vec::new();
        }
        let queue = |key: usize| {
            let begins = format!("{}\u{1f}z", self.keys[key].lock).into_bytes();
            let order = data.keys().find(|name| name.starts_with(&begins));
            match order.and_then(|order| data.peek(order)) {
                Some(Value::Sorted(members)) => {
                    in_order(members).into_iter().map(|(member, _)| member.clone()).collect()
                }
                _ => Vec::new(),
            }
        };
        (0..self.keys.len()).map(queue).collect()
    }

    /// A waiter that has got its key was the first in its queue.
    pub fn first_is_served(&mut self, now: u64, before: &[Vec<Vec<u8>>], data: &Data) {
        for (key, queue) in before.iter().enumerate() {
            let Some(Value::Text(holder)) = data.peek(self.keys[key].lock.as_bytes()) else { continue };
            let overtakes = queue.iter().position(|owner| owner == holder).is_some_and(|at| at > 0);
            if overtakes {
                self.violated(
                    now,
                    format_args!("a waiter of key {key} was served before the first in the queue"),
                );
            }
        }
    }

    /// Looks at the keys, after the server or the waiting calls have changed.
    pub fn server_changed(&mut self, now: u64, data: &Data) {
        for key in 0..self.keys.len() {
            let holder = data.peek(self.keys[key].lock.as_bytes());
            if let Some(Value::Text(holder)) = holder {
                self.held_in_vain(now, key, holder);
            }
            let is_free = holder.is_none();
            self.key_looked_at(now, key, is_free);
            if self.is_quiet {
                self.used(now, key);
            }
        }
    }

    /// Notes for how long a key has been held after its body has ended, while a live call waits.
    fn held_in_vain(&mut self, now: u64, key: usize, holder: &[u8]) {
        let is_holder = |call: &&CallRecord| {
            call.plan.key == key && call.granted.as_ref().is_some_and(|granted| granted.value == holder)
        };
        let mut last = None;
        for call in self.calls.iter().filter(is_holder) {
            // A lease may be left to another call.
            let Some(until) = kept_until(call) else { return };
            last = last.max(Some(until));
        }
        // A release that a fault delays is sent again.
        let calm_from = if self.is_mild { 0 } else { self.calm_from };
        let Some(ended) = last.map(|last| last.max(calm_from)).filter(|ended| *ended < now) else { return };
        if now - ended > self.worst_in_vain && self.calls.iter().any(|call| self.waits(call, key, now)) {
            self.worst_in_vain = now - ended;
        }
    }

    /// Notes for how long nobody has used the key while a live call waits.
    pub(super) fn used(&mut self, now: u64, key: usize) {
        let mut left_at = 0;
        for call in self.calls.iter().filter(|call| call.plan.key == key && call.granted.is_some()) {
            let Some(until) = kept_until(call) else { return };
            left_at = left_at.max(until);
        }
        let waiting = self.calls.iter().filter(|call| self.waits(call, key, now));
        let Some(since) = waiting.map(|call| call.started.at).min() else { return };
        let unused = now.saturating_sub(left_at.max(since));
        self.keys[key].worst_unused = self.keys[key].worst_unused.max(unused);
    }

    fn key_looked_at(&mut self, now: u64, key: usize, is_free: bool) {
        let waits = is_free && self.calls.iter().any(|call| self.waits(call, key, now));
        let calm_from = self.calm_from;
        let watch = &mut self.keys[key];
        if waits {
            watch.free_since.get_or_insert(now);
        } else if let Some(since) = watch.free_since.take() {
            watch.worst = watch.worst.max((now - since, now));
            if since > calm_from {
                watch.worst_after_faults = watch.worst_after_faults.max((now - since, now));
            }
        }
    }

    /// Whether a call waits for the key in a process that runs.
    fn waits(&self, call: &CallRecord, key: usize, now: u64) -> bool {
        call.plan.key == key
            && call.plan.wait != Wait::None
            && call.granted.is_none()
            && call.returned.is_none()
            && !self.gone.contains_key(&call.process)
            && !self.stands(call.process, now)
    }

    fn stands(&self, process: u32, now: u64) -> bool {
        let stills = self.stills.get(&process).map_or(&[][..], Vec::as_slice);
        stills.iter().any(|(from, until)| (*from..*until).contains(&now))
    }

    /// The longest time for which nobody has used a key while a live call waited.
    #[must_use]
    pub fn worst_unused(&self) -> u64 {
        self.keys.iter().map(|watch| watch.worst_unused).max().unwrap_or(0)
    }

    /// The longest time for which a key was free while a live call waited: in the whole schedule, and after
    /// its faults.
    #[must_use]
    pub fn worst_free(&self) -> (u64, u64) {
        let worst = self.keys.iter().map(|watch| watch.worst.0).max().unwrap_or(0);
        (worst, self.keys.iter().map(|watch| watch.worst_after_faults.0).max().unwrap_or(0))
    }
}

/// Until when a call that has ended keeps its key; `None` if it has not ended.
fn kept_until(call: &CallRecord) -> Option<u64> {
    let at_least = call.granted.as_ref().map_or(0, |granted| granted.when.at + call.plan.at_least * 1000);
    Some(call.ended?.at.max(at_least))
}
