//! One command that is sent to several nodes at once.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use super::{
    attempt::WaitFor,
    node::{Nodes, Unanswered},
    node_set::NodeSet,
    tally::{Tally, Verdict},
};
use crate::{
    error::StoreError,
    seam,
    store::{
        contract::{Store, StoreFuture},
        retry::Resending,
    },
};

/// A command whose answers are pending.
///
/// The answers are so few that each wake polls all of them. That costs less than a waker for each.
pub(super) struct FanOut<T, C> {
    nodes: Nodes,
    /// Sends the command to a store. Called once more for a node whose connection broke.
    command: C,
    pending: Vec<PendingAnswer<T>>,
    /// The index in `pending` to poll next. Those before it have been polled since the last wake.
    next_poll: usize,
    sent: Instant,
    /// How long the nodes that have answered took, in ascending order.
    latencies: Vec<Duration>,
}

/// Once a majority of the nodes has answered without deciding a command, the other nodes have this many times
/// the median latency of that majority to answer.
const PATIENCE_FACTOR: u32 = 3;

/// A node that takes this many times as long as a command's decision, and [`LEAST_SLOW`] at the least, is
/// skipped by later commands until it answers a probe.
const SLOW_FACTOR: u32 = 10;
const LEAST_SLOW: Duration = Duration::from_millis(500);

struct PendingAnswer<T> {
    node: usize,
    answer: Resending<T>,
    _counted: Unanswered,
}

/// Which nodes a command skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    /// Nodes that are down, or have left many commands unanswered.
    Overdue,
    /// Nodes that are down. For releases, which are no more than the acquires before them.
    Down,
}

impl<T, C> FanOut<T, C>
where
    T: Send + 'static,
    C: Fn(&dyn Store) -> StoreFuture<T> + Clone + Send + Sync + 'static,
{
    /// Sends a command to all nodes except `except`, to each once it has answered what `wait_for` names.
    ///
    /// A node that is skipped is recorded in the tally as failed.
    pub(super) fn start(
        nodes: &Nodes,
        except: NodeSet,
        skip: Skip,
        wait_for: &WaitFor,
        tally: &mut Tally,
        command: C,
    ) -> Self {
        let mut pending = Vec::with_capacity(nodes.len());
        let counts = nodes.unanswered();
        for (at, node) in nodes.iter().enumerate().filter(|(at, _)| !except.contains(*at)) {
            if node.is_down() {
                tally.record(at, Err(node.down_error()));
                continue;
            }
            if skip == Skip::Overdue
                && let Err(error) = Unanswered::check(&counts, at)
            {
                tally.record(at, Err(error));
                continue;
            }
            let answer = if wait_for.is_nothing() {
                command(&*node.store)
            } else {
                let (node, command, wait_for) = (Arc::clone(node), command.clone(), wait_for.clone());
                Box::pin(async move {
                    wait_for.wait(at).await;
                    command(&*node.store).await
                })
            };
            let (answer, counted) = (Resending::new(answer), Unanswered::new(&counts, at));
            pending.push(PendingAnswer { node: at, answer, _counted: counted });
        }
        let (nodes, latencies) = (nodes.clone(), Vec::with_capacity(pending.len()));
        Self { nodes, command, pending, next_poll: 0, sent: Instant::now(), latencies }
    }

    /// Records answers until they decide. `judge` says what each counts for.
    ///
    /// Once a majority has answered, the other nodes have [`PATIENCE_FACTOR`] times its median latency, and
    /// `least_patience` at the least, to make the answers decide. Otherwise a minority that hangs would hold
    /// up every contender of a key for which the other nodes are divided.
    pub(super) async fn decide(
        &mut self,
        tally: &mut Tally,
        least_patience: Duration,
        mut judge: impl FnMut(usize, Result<T, StoreError>) -> Result<bool, StoreError>,
    ) -> Verdict {
        let mut decide_by = None;
        loop {
            if let Some(verdict) = tally.verdict() {
                return verdict;
            }
            if decide_by.is_none() && tally.majority_answered() {
                let patience = (self.median_latency() * PATIENCE_FACTOR).max(least_patience);
                decide_by = Instant::now().checked_add(patience);
            }
            let next = match decide_by {
                Some(decide_by) => timeout_at(decide_by, self.next_answer()).await.unwrap_or(None),
                None => self.next_answer().await,
            };
            let Some((node, answer)) = next else { return Verdict::Undecided };
            tally.record(node, judge(node, answer));
        }
    }

    fn median_latency(&self) -> Duration {
        self.latencies.get(self.latencies.len() / 2).copied().unwrap_or_default()
    }

    /// Receives the pending answers in a background task, which owns `receive` until the last of them.
    pub(super) fn finish_in_background(
        mut self,
        mut receive: impl FnMut(usize, Result<T, StoreError>) + Send + 'static,
    ) {
        if self.pending.is_empty() {
            return;
        }
        // The new task has not polled any.
        self.next_poll = 0;
        let slow_after = (self.sent.elapsed() * SLOW_FACTOR).max(LEAST_SLOW);
        seam::spawn_here(async move {
            let mut slow_at = self.sent.checked_add(slow_after);
            loop {
                let next = match slow_at {
                    None => Ok(self.next_answer().await),
                    Some(at) => timeout_at(at, self.next_answer()).await.map_err(|_| at.elapsed()),
                };
                match next {
                    Ok(Some((node, answer))) => receive(node, answer),
                    Ok(None) => return,
                    // This runtime stood still: answers that came meanwhile have yet to be read.
                    Err(late) if late > LEAST_SLOW / 2 => slow_at = Instant::now().checked_add(slow_after),
                    Err(_) => {
                        slow_at = None;
                        self.note_silence(slow_after);
                    }
                }
            }
        });
    }

    /// Marks the nodes as down whose answers are still pending.
    fn note_silence(&self, silence: Duration) {
        for pending in &self.pending {
            self.nodes[pending.node].note_silence(silence);
        }
    }

    /// The next answer that comes, and its node. The error of a node that does not answer marks the node as
    /// down.
    pub(super) async fn next_answer(&mut self) -> Option<(usize, Result<T, StoreError>)> {
        poll_fn(|cx| self.poll_next_answer(cx)).await
    }

    fn poll_next_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Result<T, StoreError>)>> {
        while let Some(pending) = self.pending.get_mut(self.next_poll) {
            let node = &self.nodes[pending.node];
            let Poll::Ready(answer) = pending.answer.poll(cx, || (self.command)(&*node.store)) else {
                self.next_poll += 1;
                continue;
            };
            match &answer {
                Ok(_) => self.latencies.push(self.sent.elapsed()),
                Err(error) => node.note_error(error),
            }
            let PendingAnswer { node, .. } = self.pending.swap_remove(self.next_poll);
            return Poll::Ready(Some((node, answer)));
        }
        self.next_poll = 0;
        if self.pending.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}
