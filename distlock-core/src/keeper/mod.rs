//! The keeper: one task per manager and runtime that renews every held lease, and cleans up after every
//! caller that has gone.
//!
//! - `state` is what the handles and the task share.
//! - [`cleanup`] does one clean-up to its end.
//! - [`task`] is the loop.
//!
//! # How it works
//! The keeper owns what must outlive a caller: acquires whose caller has gone, releases that a `Drop` could
//! not wait for, releases that failed. A handle only adds to the lists and wakes the task, so that a `Drop`
//! needs no runtime and never blocks.
//!
//! # Why nothing is lost
//! - The task looks through all lists each time that it wakes, and `wake` keeps a notification until it does.
//! - A lease is in the schedule as long as a guard has it. A renewal in flight leaves its deadline there. A
//!   guard that ends takes the alarm out, and a renewal that is answered later does not put it back.
//! - When its runtime ends, the task is dropped. It then loses all leases and counts all clean-ups that are
//!   left. Later ones are refused, and go to the keeper of another runtime or are counted.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;

use crate::{
    clock::Moment,
    error::{LostReason, StoreError},
    lease::{Cleanup, Lease},
    runtime::PerRuntime,
    seam::{self, RuntimeId},
    shared::Shared,
    store::StoreFuture,
    wait_queue::WaitQueues,
};

mod cleanup;
mod state;
mod task;

use state::{KeeperState, SentClaim};
use task::Task;

/// The handle to a keeper. When the last one is dropped, the task finishes what it has and ends.
#[derive(Clone)]
pub(crate) struct Keeper(Arc<LastHandle>);

/// The keepers of a manager.
pub(crate) type Keepers = PerRuntime<Keeper>;

struct LastHandle {
    state: Arc<KeeperState>,
    /// The keepers of the manager's other runtimes.
    keepers: Weak<Keepers>,
}

impl Keeper {
    /// The current runtime's keeper, started on first use.
    ///
    /// # Errors
    /// When there is no current runtime.
    pub(crate) fn of_this_runtime(shared: &Arc<Shared>, keepers: &Arc<Keepers>) -> Result<Self, StoreError> {
        let keeper = keepers.get_or_make(|| Ok(Self::start(shared, keepers)))?;
        if !keeper.state().is_gone() {
            return Ok(keeper);
        }
        // The task ended although its runtime goes on, or the runtime is being shut down.
        keepers.replace_if(|keeper| keeper.state().is_gone(), || Self::start(shared, keepers));
        keepers.get_or_make(|| Ok(Self::start(shared, keepers)))
    }

    /// Starts a keeper on the current runtime.
    fn start(shared: &Arc<Shared>, keepers: &Arc<Keepers>) -> Self {
        let runtime = Handle::current();
        let state = KeeperState::new(Arc::clone(shared), RuntimeId::of(&runtime));
        // Made here and not in the task: a runtime that is shutting down drops the task before its first
        // poll.
        let task = Task(Arc::clone(&state));
        seam::spawn(&runtime, task.work());
        Self(Arc::new(LastHandle { state, keepers: Arc::downgrade(keepers) }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.state().shared
    }

    /// The waiters of this keeper's runtime.
    pub(crate) fn wait_queues(&self) -> &WaitQueues {
        &self.state().wait_queues
    }

    /// Whether this keeper's runtime is the current one.
    pub(crate) fn is_of_this_runtime(&self) -> bool {
        self.state().is_of_this_runtime()
    }

    /// Renews a lease, or loses it, until it is [untracked](Self::untrack).
    pub(crate) fn track(&self, lease: &Arc<Lease>, sent: Moment) {
        let at = lease.first_alarm(sent);
        let mut schedule = self.state().schedule();
        if self.state().is_gone() {
            drop(schedule);
            lease.lose(LostReason::Shutdown);
            return;
        }
        if schedule.set_alarm(lease, at) {
            self.state().wake.notify_one();
        }
    }

    /// Waits for the answer to a claim that was sent at `sent`. The lease is [tracked](Self::track) already.
    pub(crate) fn finish_claim(&self, lease: &Arc<Lease>, sent: Moment, answer: StoreFuture<bool>) {
        let claim = SentClaim { lease: Arc::clone(lease), sent, answer };
        self.state().schedule().claims.push(claim);
        self.state().wake.notify_one();
    }

    /// Stops renewing a lease: it was released, or is about to be.
    pub(crate) fn untrack(&self, lease: &Lease) {
        self.state().schedule().remove_alarm(lease);
    }

    /// Has a clean-up done in the background.
    ///
    /// The current runtime's keeper takes a release, because this keeper's runtime may stand still. A release
    /// that was sent belongs to the runtime that sent it. An acquire stays with the runtime that it began on.
    /// If no keeper can take the clean-up, it is counted and left to the ttl.
    pub(crate) fn clean_up(&self, cleanup: Cleanup) {
        let is_acquire = matches!(cleanup, Cleanup::Acquire { .. });
        let here = || {
            let keepers = self.0.keepers.upgrade().filter(|_| !self.state().is_of_this_runtime())?;
            Self::of_this_runtime(self.shared(), &keepers).ok()
        };
        let accept_here = |cleanup| match here() {
            Some(keeper) => keeper.state().accept(cleanup),
            None => Some(cleanup),
        };
        let refused = if is_acquire {
            self.state().accept(cleanup).and_then(accept_here)
        } else {
            accept_here(cleanup).and_then(|cleanup| self.state().accept(cleanup))
        };
        if let Some(cleanup) = refused {
            self.shared().count_failed_release(cleanup.key(), &"the runtime was shut down");
        }
    }

    /// Marks every lease as lost, and returns them all for release.
    pub(crate) fn give_up_all(&self) -> Vec<Arc<Lease>> {
        let leases = self.state().schedule().take_leases();
        for lease in &leases {
            lease.lose(LostReason::Shutdown);
        }
        leases
    }

    /// Waits until all clean-ups are done.
    pub(crate) async fn wait_until_idle(&self) {
        loop {
            let idle = self.state().idle.notified();
            {
                let schedule = self.state().schedule();
                if self.state().is_gone() || (schedule.is_idle && schedule.cleanups.is_empty()) {
                    return;
                }
            }
            idle.await;
        }
    }

    fn state(&self) -> &KeeperState {
        &self.0.state
    }
}

impl Drop for LastHandle {
    fn drop(&mut self) {
        self.state.schedule().is_closing = true;
        self.state.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{task::yield_now, time::sleep};

    use super::*;
    use crate::{
        key::Key,
        lease::{Grant, Term},
        options::Options,
        store::MemoryStore,
        token::OwnerToken,
    };

    const TTL: Duration = Duration::from_secs(30);

    fn keeper() -> Keeper {
        let shared = Arc::new(Shared::new(Box::new(MemoryStore::new()), None));
        Keeper::of_this_runtime(&shared, &Arc::default()).unwrap()
    }

    fn lease(sent: Moment) -> Arc<Lease> {
        let term = Term { sent, lasts: TTL, claim_within: None };
        let grant = Grant { owner: OwnerToken::random(), fence: None, term, in_doubt: false, drift: None };
        Arc::new(Lease::new(Key::new("lock", "k").unwrap(), &Options::new(TTL), &grant, sent))
    }

    /// Lets leases come and go. The task runs when a lease has gone, as it may on another core. Answers how
    /// often the task has looked through its lists.
    async fn rounds_of_cycles(keeper: &Keeper, cycles: usize) -> usize {
        let before = keeper.state().schedule().rounds;
        for _ in 0..cycles {
            let sent = Moment::now();
            let lease = lease(sent);
            keeper.track(&lease, sent);
            keeper.untrack(&lease);
            yield_now().await;
        }
        keeper.state().schedule().rounds - before
    }

    #[tokio::test(start_paused = true)]
    async fn leases_that_come_and_go_do_not_wake_the_keeper() {
        let keeper = keeper();
        // A first alarm that is drawn late lets a few earlier ones wake the task.
        let rounds = rounds_of_cycles(&keeper, 1000).await;
        assert!(rounds <= 30, "{rounds} rounds of the task for 1000 leases");
    }

    #[tokio::test(start_paused = true)]
    async fn a_keeper_that_woke_in_vain_sleeps_until_a_lease_comes() {
        let keeper = keeper();
        rounds_of_cycles(&keeper, 1).await;
        sleep(TTL).await;
        let rounds = keeper.state().schedule().rounds;
        sleep(TTL * 100).await;
        assert_eq!(keeper.state().schedule().rounds, rounds);
        assert!(rounds_of_cycles(&keeper, 1).await > 0);
    }
}
