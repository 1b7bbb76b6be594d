//! One attempt at a key: the state, node by node, of the acquire and the release of one owner token.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{node::ReleaseAgain, node_set::NodeSet};
use crate::{error::StoreError, key::Key, store::contract::Acquired, token::OwnerToken};

/// The acquire and the release of one owner token.
pub(super) struct Attempt {
    pub(super) key: Key,
    pub(super) owner: OwnerToken,
    state: Mutex<State>,
    /// Notified when nodes leave `acquire_pending` or `release_pending`.
    changed: Notify,
}

/// How long a command waits for the answers to an attempt of another runtime, counted from the attempt's
/// latest command. That runtime may stand still.
const PATIENCE_WITH_OTHER_RUNTIMES: Duration = Duration::from_millis(100);

/// How far the attempt is on each node.
///
/// A node that answers once its command was decided enters, in one step, the set that tells how the command
/// ended there, and is then removed from the pending ones. It never leaves the sets that tell how a command
/// ended.
#[derive(Clone, Copy)]
struct State {
    /// The nodes that the acquire was not sent to, because they were down. Set by the acquire's decision,
    /// cleared by a heal.
    skipped: NodeSet,
    /// The runtime that waits for the acquire's answers. Set with `acquire_pending`.
    acquire_runtime: Option<Id>,
    /// The runtime that waits for the release's answers. Set with `release_pending`.
    release_runtime: Option<Id>,
    /// When a command was last decided. Set with `acquire_pending` and `release_pending`.
    decided_at: Instant,
    /// Have not answered the acquire, or a heal. Set by the acquire's decision and by the heal, cleared by
    /// their answers.
    acquire_pending: NodeSet,
    /// Failed to answer the acquire, so that it may have executed or may yet execute. Set by the acquire's
    /// decision and by its late answers.
    in_doubt: NodeSet,
    /// Granted the acquire, but not in time for its decision, or took the key again. Set by the acquire's
    /// late answers, and by the answers to heals.
    granted_late: NodeSet,
    /// Have not answered the release. Set by the release's decision, cleared by its late answers.
    release_pending: NodeSet,
    /// Whether the release was decided. Set together with `release_pending`.
    release_decided: bool,
    /// Released the key. Set by every answer to the release, as are the two sets below.
    released: NodeSet,
    /// Answered that the owner did not hold the key.
    not_owner: NodeSet,
    /// Failed to answer the release.
    release_failed: NodeSet,
}

/// The two commands of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Acquire,
    Release,
}

/// The earlier commands that a node must have answered before a command is sent to it.
#[derive(Clone)]
pub(super) enum WaitFor {
    Nothing,
    /// This attempt's acquire.
    AcquireAnswer(Arc<Attempt>),
    /// The acquires and the releases of these attempts.
    AllAnswers(Vec<Arc<Attempt>>),
}

impl Attempt {
    /// An attempt of which nothing is pending.
    pub(super) fn new(key: &Key, owner: &OwnerToken) -> Arc<Self> {
        Self::with_state(key, owner, State::new())
    }

    /// An attempt whose acquire was decided while these nodes were skipped, in doubt or pending.
    pub(super) fn acquired(
        key: &Key,
        owner: &OwnerToken,
        skipped: NodeSet,
        in_doubt: NodeSet,
        pending: NodeSet,
    ) -> Arc<Self> {
        Self::with_state(key, owner, State { skipped, acquire_pending: pending, in_doubt, ..State::new() })
    }

    fn with_state(key: &Key, owner: &OwnerToken, state: State) -> Arc<Self> {
        let (key, state) = (key.clone(), Mutex::new(state));
        Arc::new(Self { key, owner: *owner, state, changed: Notify::new() })
    }

    /// The nodes that the acquire was not sent to.
    pub(super) fn skipped(&self) -> NodeSet {
        self.state().skipped
    }

    /// Whether no answer is pending, and the latest command was decided that long ago.
    pub(super) fn is_older_than(&self, ttl: Duration) -> bool {
        let state = *self.state();
        state.acquire_pending.union(state.release_pending).is_empty() && state.decided_at.elapsed() > ttl
    }

    /// Whether the current runtime waits for all answers that are pending.
    pub(super) fn is_of_this_runtime(&self) -> bool {
        let (state, runtime) = (*self.state(), current_runtime());
        (state.acquire_pending.is_empty() || state.acquire_runtime == runtime)
            && (state.release_pending.is_empty() || state.release_runtime == runtime)
    }

    /// Notes that these nodes are about to be sent a heal, which is one more acquire. Answers those of them
    /// that no acquire is pending on.
    pub(super) fn heal_begins(&self, nodes: NodeSet) -> NodeSet {
        let mut state = self.state();
        let nodes = nodes.minus(state.acquire_pending);
        let runtime = current_runtime();
        // Answers that several runtimes wait for count as those of another one.
        let is_only = state.acquire_pending.is_empty() || state.acquire_runtime == runtime;
        state.acquire_runtime = runtime.filter(|_| is_only);
        state.acquire_pending = state.acquire_pending.union(nodes);
        state.skipped = state.skipped.minus(nodes);
        state.decided_at = Instant::now();
        nodes
    }

    /// Whether no answer is pending, and no release is still to come that has to know of this attempt.
    pub(super) fn is_finished(&self) -> bool {
        let state = *self.state();
        let pending = state.acquire_pending.union(state.release_pending);
        let to_know = state.in_doubt.union(state.skipped);
        pending.is_empty() && (state.release_decided || to_know.is_empty())
    }

    /// Notes a node's late answer to the acquire.
    pub(super) fn acquire_ended(&self, node: usize, answer: &Result<Acquired, StoreError>) -> ReleaseAgain {
        let mut state = self.state();
        state.acquire_pending.remove(node);
        match answer {
            Ok(Acquired::Granted { .. }) => state.granted_late.insert(node),
            Err(error) if error.outcome_unknown() => state.in_doubt.insert(node),
            Ok(Acquired::Busy { .. }) | Err(_) => {}
        }
        state.release_again(node)
    }

    /// Notes that the release was decided while these nodes have not answered it.
    pub(super) fn release_decided(&self, pending: NodeSet) {
        let mut state = self.state();
        state.release_pending = pending;
        state.release_runtime = current_runtime();
        state.decided_at = Instant::now();
        state.release_decided = true;
    }

    /// Notes a node's answer to the release.
    pub(super) fn release_ended(&self, node: usize, answer: &Result<bool, StoreError>) -> ReleaseAgain {
        let mut state = self.state();
        match answer {
            Ok(true) => state.released.insert(node),
            Ok(false) => state.not_owner.insert(node),
            Err(_) => state.release_failed.insert(node),
        }
        state.release_again(node)
    }

    /// Notes that nothing receives the answers of these nodes any more.
    pub(super) fn abandoned(&self, step: Step, nodes: NodeSet) {
        if matches!(step, Step::Acquire) {
            // The acquires may have been sent, and may yet execute.
            let mut state = self.state();
            state.in_doubt = state.in_doubt.union(nodes);
        }
        self.no_longer_pending(step, nodes);
    }

    /// Notes that these nodes have answered.
    pub(super) fn no_longer_pending(&self, step: Step, nodes: NodeSet) {
        let mut state = self.state();
        let pending = match step {
            Step::Acquire => &mut state.acquire_pending,
            Step::Release => &mut state.release_pending,
        };
        *pending = pending.minus(nodes);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits for answers, for a bounded time if another runtime receives them.
    async fn wait_until(&self, done: impl Fn(State) -> bool) {
        loop {
            // Created before the state is read, so that no change in between is missed.
            let changed = self.changed.notified();
            let state = *self.state();
            if done(state) {
                return;
            }
            if self.is_of_this_runtime() {
                changed.await;
            } else if timeout_at(state.decided_at + PATIENCE_WITH_OTHER_RUNTIMES, changed).await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new() -> Self {
        let (none, runtime) = (NodeSet::new(), current_runtime());
        Self {
            skipped: none,
            acquire_runtime: runtime,
            release_runtime: runtime,
            decided_at: Instant::now(),
            acquire_pending: none,
            in_doubt: none,
            granted_late: none,
            release_pending: none,
            release_decided: false,
            released: none,
            not_owner: none,
            release_failed: none,
        }
    }

    /// Whether the node may still hold the key although both the acquire and the release have ended there.
    fn release_again(&self, node: usize) -> ReleaseAgain {
        let release_ended = self.released.union(self.not_owner).union(self.release_failed);
        if self.acquire_pending.contains(node) || !release_ended.contains(node) {
            return ReleaseAgain::No;
        }
        // A connection that was replaced between the two let the release overtake the acquire.
        let was_overtaken = self.granted_late.contains(node) && self.not_owner.contains(node);
        if self.in_doubt.contains(node) {
            ReleaseAgain::UntilConfirmed
        } else if was_overtaken || self.release_failed.contains(node) {
            ReleaseAgain::UntilAnswered
        } else {
            ReleaseAgain::No
        }
    }
}

impl WaitFor {
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::AcquireAnswer(_) => false,
            Self::AllAnswers(attempts) => attempts.is_empty(),
        }
    }

    /// Waits until the node has answered, or until nothing receives its answers any more. An answer that
    /// another runtime is to receive is waited for a bounded time.
    pub(super) async fn wait(self, node: usize) {
        match self {
            Self::Nothing => {}
            Self::AcquireAnswer(attempt) => {
                attempt.wait_until(|state| !state.acquire_pending.contains(node)).await;
            }
            Self::AllAnswers(attempts) => {
                for attempt in attempts {
                    let pending = |state: State| state.acquire_pending.union(state.release_pending);
                    attempt.wait_until(|state| !pending(state).contains(node)).await;
                }
            }
        }
    }
}

fn current_runtime() -> Option<Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StoreErrorKind;

    const NODE: usize = 1;

    fn attempt(in_doubt: bool, pending: bool) -> Arc<Attempt> {
        let only_if = |is_in: bool| is_in.then_some(NODE).into_iter().collect();
        let key = Key::stored("", "order:42");
        Attempt::acquired(&key, &OwnerToken::random(), NodeSet::new(), only_if(in_doubt), only_if(pending))
    }

    fn no_answer<T>() -> Result<T, StoreError> {
        Err(StoreError::timed_out())
    }

    #[test]
    fn a_release_is_sent_again_only_when_the_acquire_has_ended_too() {
        let attempt = attempt(false, true);
        assert_eq!(attempt.release_ended(NODE, &no_answer()), ReleaseAgain::No);
        assert_eq!(attempt.acquire_ended(NODE, &Ok(Acquired::granted(None))), ReleaseAgain::UntilAnswered);
    }

    #[test]
    fn a_release_that_overtook_its_acquire_is_sent_again() {
        let attempt = attempt(false, true);
        assert_eq!(attempt.release_ended(NODE, &Ok(false)), ReleaseAgain::No);
        assert_eq!(attempt.acquire_ended(NODE, &Ok(Acquired::granted(None))), ReleaseAgain::UntilAnswered);
    }

    #[test]
    fn an_acquire_in_doubt_is_released_until_that_is_confirmed() {
        let late = attempt(false, true);
        assert_eq!(late.acquire_ended(NODE, &no_answer()), ReleaseAgain::No);
        assert_eq!(late.release_ended(NODE, &Ok(true)), ReleaseAgain::UntilConfirmed);
        assert_eq!(attempt(true, false).release_ended(NODE, &Ok(false)), ReleaseAgain::UntilConfirmed);
    }

    #[test]
    fn what_certainly_holds_nothing_is_not_released_again() {
        assert_eq!(attempt(false, false).release_ended(NODE, &Ok(true)), ReleaseAgain::No);
        assert_eq!(attempt(false, false).release_ended(NODE, &Ok(false)), ReleaseAgain::No);
        let refused = attempt(false, true);
        let refusal = StoreError::new(StoreErrorKind::Refused, "no permission");
        assert_eq!(refused.acquire_ended(NODE, &Err(refusal)), ReleaseAgain::No);
        assert_eq!(refused.release_ended(NODE, &Ok(false)), ReleaseAgain::No);
    }

    #[test]
    fn an_acquire_whose_answer_nothing_receives_is_in_doubt() {
        let attempt = attempt(false, true);
        attempt.abandoned(Step::Acquire, NodeSet::ALL);
        assert!(!attempt.is_finished());
        assert_eq!(attempt.release_ended(NODE, &Ok(false)), ReleaseAgain::UntilConfirmed);
    }

    #[test]
    fn an_attempt_in_doubt_is_finished_by_its_release_alone() {
        let attempt = attempt(true, true);
        attempt.no_longer_pending(Step::Acquire, NodeSet::ALL);
        assert!(!attempt.is_finished());
        attempt.release_decided([NODE].into_iter().collect());
        assert!(!attempt.is_finished());
        attempt.no_longer_pending(Step::Release, NodeSet::ALL);
        assert!(attempt.is_finished());
    }
}
