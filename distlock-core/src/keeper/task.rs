//! The keeper's task: the loop that renews leases and does clean-ups.

use std::{
    collections::VecDeque, future::Future, panic::AssertUnwindSafe, pin::Pin, sync::Arc, time::Duration,
};

use futures_util::{
    FutureExt,
    stream::{FuturesUnordered, StreamExt},
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    cleanup::clean_up,
    state::{KeeperState, SentClaim},
};
use crate::{
    clock::Moment,
    error::{LostReason, StoreError},
    events,
    lease::{self, Lease},
};

/// The task of one keeper. Dropped with its runtime, it closes the keeper.
pub(super) struct Task(pub(super) Arc<KeeperState>);

/// What has come to its end.
enum Finished {
    Renewal { lease: Arc<Lease>, sent: Moment, answer: Result<bool, StoreError> },
    Cleanup,
}

/// How many renewals are in flight at a time: enough to fill a connection's pipeline, few enough that each is
/// answered within its time however many leases fall due at once.
const RENEWALS_AT_ONCE: usize = 512;

/// What the task is waiting for.
#[derive(Default)]
struct InFlight {
    work: FuturesUnordered<Pin<Box<dyn Future<Output = Finished> + Send>>>,
    /// How many of them are renewals.
    renewals: usize,
    /// Leases to be renewed as soon as there is room.
    due: VecDeque<Arc<Lease>>,
}

impl InFlight {
    /// Adds the renewal or claim of a lease, which was sent at `sent`. Its future may panic.
    fn push_renewal(
        &mut self,
        lease: Arc<Lease>,
        sent: Moment,
        answer: impl Future<Output = Result<bool, StoreError>> + Send + 'static,
    ) {
        self.renewals += 1;
        self.work.push(Box::pin(async move {
            // A hung answer must leave time for another try.
            let answer = AssertUnwindSafe(answer).catch_unwind();
            let answer = match timeout(lease.renewal_interval(), answer).await {
                Ok(Ok(answer)) => answer,
                // A panic costs this lease at most.
                Ok(Err(_panic)) => Err(StoreError::panicked()),
                Err(_elapsed) => Err(StoreError::timed_out()),
            };
            Finished::Renewal { lease, sent, answer }
        }));
    }
}

impl Task {
    pub(super) async fn work(self) {
        let state = &self.0;
        let mut in_flight = InFlight::default();
        loop {
            let now = Moment::now();
            self.take_due(&mut in_flight, now);
            self.start_renewals(&mut in_flight, now);
            let wakes_at = {
                let mut schedule = state.schedule();
                for SentClaim { lease, sent, answer } in std::mem::take(&mut schedule.claims) {
                    in_flight.push_renewal(lease, sent, answer);
                }
                for cleanup in std::mem::take(&mut schedule.cleanups) {
                    // A panic is counted by the clean-up itself.
                    let cleanup = AssertUnwindSafe(clean_up(state, cleanup)).catch_unwind();
                    in_flight.work.push(Box::pin(cleanup.map(|_| Finished::Cleanup)));
                }
                if in_flight.work.is_empty() {
                    state.idle.notify_waiters();
                    if schedule.is_closing && schedule.is_empty() {
                        return;
                    }
                }
                schedule.is_idle = in_flight.work.is_empty();
                #[cfg(test)]
                {
                    schedule.rounds += 1;
                }
                schedule.next_wake_up(now.at)
            };
            tokio::select! {
                // Whatever wakes the task, it looks through all lists, so that none can starve and a schedule
                // can be repeated.
                biased;
                Some(finished) = in_flight.work.next() => {
                    if let Finished::Renewal { lease, sent, answer } = finished {
                        in_flight.renewals -= 1;
                        self.apply_renewal(&lease, sent, answer);
                    }
                }
                () = state.wake.notified() => {}
                () = sleep_until_some(wakes_at) => {}
            }
        }
    }

    /// Queues each lease whose alarm is due for renewal, or loses it if its time is over.
    fn take_due(&self, in_flight: &mut InFlight, now: Moment) {
        let mut over = Vec::new();
        let mut schedule = self.0.schedule();
        while let Some(lease) = schedule.pop_due(now.at) {
            if let Err(reason) = lease.status(now) {
                over.push((lease, reason));
                continue;
            }
            // Until the renewal is answered, only the lease's deadline is left to watch for.
            schedule.set_alarm(&lease, lease.deadline());
            if lease.is_to_be_renewed() {
                in_flight.due.push_back(lease);
            }
        }
        drop(schedule);
        for (lease, reason) in over {
            lose(&lease, reason);
        }
    }

    fn start_renewals(&self, in_flight: &mut InFlight, now: Moment) {
        while in_flight.renewals < RENEWALS_AT_ONCE {
            let Some(lease) = in_flight.due.pop_front() else { return };
            // A lease without an alarm was released or lost while it was queued here.
            if !lease.has_alarm() {
                continue;
            }
            let (shared, renewed) = (Arc::clone(&self.0.shared), Arc::clone(&lease));
            let answer = async move { shared.renew_once(&renewed).await };
            in_flight.push_renewal(lease, now, answer);
        }
    }

    fn apply_renewal(&self, lease: &Arc<Lease>, sent: Moment, answer: Result<bool, StoreError>) {
        let at = match answer {
            Ok(true) => {
                lease.confirm(sent, Moment::now());
                if lease.is_shortened() {
                    // A claim that was sent again by its text may have run after the release, and have undone
                    // it.
                    self.0.accept(lease::Cleanup::Release(lease.pending_release(Moment::now())));
                }
                events::renewed(&lease.key);
                lease.next_alarm(sent)
            }
            Ok(false) => {
                if self.0.schedule().remove_alarm(lease) {
                    lose(lease, LostReason::NotOwner);
                }
                return;
            }
            Err(error) => {
                events::renewal_failed(&lease.key, &error);
                lease.deadline().min(Instant::now() + retry_delay(lease.ttl))
            }
        };
        let mut schedule = self.0.schedule();
        // A lease that was untracked meanwhile was released, and must not come back.
        if schedule.remove_alarm(lease) {
            schedule.set_alarm(lease, at);
        }
    }
}

impl Drop for Task {
    /// A runtime that is shut down drops its tasks where they stand.
    fn drop(&mut self) {
        self.0.close();
    }
}

fn lose(lease: &Lease, reason: LostReason) {
    lease.lose(reason);
    if let Some(reason) = lease.take_loss() {
        events::lost(&lease.key, lease.span(), reason);
    }
}

/// How long to wait after a renewal that failed: short enough for several tries within the last two thirds of
/// the ttl, long enough for no storm.
fn retry_delay(ttl: Duration) -> Duration {
    (ttl / 30).clamp(Duration::from_millis(2), Duration::from_secs(1))
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
