//! Counts the nodes' answers to one command: when they decide it, and how.

use std::{fmt::Write, time::Duration};

use super::node_set::NodeSet;
use crate::{
    error::{StoreError, StoreErrorKind},
    holder::Holder,
    token::FencingToken,
};

/// The majority of the nodes configured. Two majorities always have a node in common.
pub(super) fn majority(nodes: usize) -> usize {
    nodes / 2 + 1
}

/// The nodes' answers to a command that each node accepts, rejects or fails to answer.
pub(super) struct Tally {
    nodes: usize,
    accepted: NodeSet,
    rejected: NodeSet,
    failed: Vec<(usize, StoreError)>,
}

/// What the nodes' answers amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A majority has accepted.
    Accepted,
    /// So many nodes have rejected that a majority cannot accept, whatever the other nodes would answer.
    Rejected,
    /// No majority accepts, and none has rejected: the nodes are divided, or too many have failed.
    Undecided,
}

impl Tally {
    pub(super) fn new(nodes: usize) -> Self {
        Self { nodes, accepted: NodeSet::new(), rejected: NodeSet::new(), failed: Vec::new() }
    }

    /// Counts one node's answer: `Ok(true)` accepts, `Ok(false)` rejects. Each node is recorded once.
    pub(super) fn record(&mut self, node: usize, answer: Result<bool, StoreError>) {
        match answer {
            Ok(true) => self.accepted.insert(node),
            Ok(false) => self.rejected.insert(node),
            Err(error) => self.failed.push((node, error)),
        }
    }

    /// The verdict, as soon as no answer that is still pending can change what the caller is told.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let (accepted, rejected) = (self.accepted.len(), self.rejected.len());
        let majority = majority(self.nodes);
        let pending = self.nodes - accepted - rejected - self.failed.len();
        if accepted >= majority {
            Some(Verdict::Accepted)
        } else if self.nodes - rejected < majority {
            Some(Verdict::Rejected)
        } else if accepted + pending >= majority {
            None
        } else if self.majority_answered() || accepted + rejected + pending < majority {
            // The nodes that failed might have accepted or rejected.
            Some(Verdict::Undecided)
        } else {
            // With the pending answers, a majority will have answered, if only to be divided.
            None
        }
    }

    /// The nodes that have accepted.
    pub(super) fn accepted(&self) -> NodeSet {
        self.accepted
    }

    /// The nodes that have rejected.
    pub(super) fn rejected(&self) -> NodeSet {
        self.rejected
    }

    /// The nodes that failed to answer.
    pub(super) fn failed(&self) -> NodeSet {
        self.failed.iter().map(|(node, _)| *node).collect()
    }

    /// The nodes of which nothing has been recorded.
    pub(super) fn pending(&self) -> NodeSet {
        let recorded = self.accepted.union(self.rejected).union(self.failed());
        (0..self.nodes).collect::<NodeSet>().minus(recorded)
    }

    /// Whether a majority has answered, so that an undecided verdict means a divided quorum.
    pub(super) fn majority_answered(&self) -> bool {
        self.accepted.len() + self.rejected.len() >= majority(self.nodes)
    }

    /// The error of an undecided command, which names each failed node and its error.
    pub(super) fn into_error<'a>(mut self, name: impl Fn(usize) -> &'a str) -> StoreError {
        self.failed.sort_by_key(|(node, _)| *node);
        let mut detail = format!("no quorum: {} of {} nodes failed", self.failed.len(), self.nodes);
        for (node, error) in &self.failed {
            let _ = write!(detail, "; {}: {error}", name(*node));
        }
        let error = StoreError::new(StoreErrorKind::NoQuorum, detail);
        match self.failed.into_iter().next() {
            Some((_, first)) => error.with_source(first),
            None => error,
        }
    }
}

/// How long it may take until a majority of the nodes is free, given the remaining leases of the busy nodes.
///
/// Zero if a majority is free already; `None` if that takes the end of a lease without expiry.
pub(super) fn majority_free_in(nodes: usize, mut busy: Vec<Option<Duration>>) -> Option<Duration> {
    // A lease without expiry sorts last.
    busy.sort_by_key(|remaining| remaining.unwrap_or(Duration::MAX));
    let missing = (majority(nodes) + busy.len()).saturating_sub(nodes);
    missing.checked_sub(1).map_or(Some(Duration::ZERO), |last| busy[last])
}

/// The holder that a majority of the nodes has told of.
pub(super) fn majority_holder(nodes: usize, seen: &[Holder]) -> Option<&Holder> {
    let votes = |holder: &Holder| seen.iter().filter(|other| other.id() == holder.id()).count();
    seen.iter().find(|holder| votes(holder) >= majority(nodes))
}

/// The highest fencing token granted, and the nodes that granted exactly that one.
pub(super) fn highest_fence(grants: &[(usize, FencingToken)]) -> Option<(FencingToken, NodeSet)> {
    let highest = grants.iter().map(|(_, fence)| *fence).max()?;
    let exact = grants.iter().filter(|(_, fence)| *fence == highest);
    Some((highest, exact.map(|(node, _)| *node).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(nodes: usize, accepted: usize, rejected: usize, failed: usize) -> Option<Verdict> {
        let mut tally = Tally::new(nodes);
        let answers = [(accepted, Ok(true)), (rejected, Ok(false)), (failed, Err(StoreError::timed_out()))];
        let answers = answers.into_iter().flat_map(|(times, answer)| std::iter::repeat_n(answer, times));
        for (node, answer) in answers.enumerate() {
            tally.record(node, answer);
        }
        tally.verdict()
    }

    #[test]
    fn a_majority_is_of_the_nodes_configured() {
        assert_eq!([1, 2, 3, 4, 5, 6].map(majority), [1, 2, 2, 3, 3, 4]);
    }

    #[test]
    fn a_majority_decides_either_way_as_soon_as_it_has_answered() {
        assert_eq!(verdict(5, 3, 0, 0), Some(Verdict::Accepted));
        assert_eq!(verdict(5, 2, 2, 0), None);
        assert_eq!(verdict(5, 0, 3, 0), Some(Verdict::Rejected));
        assert_eq!(verdict(5, 2, 3, 0), Some(Verdict::Rejected));
        // Two of four are not a majority, and leave no majority to anybody else.
        assert_eq!(verdict(4, 2, 1, 0), None);
        assert_eq!(verdict(4, 2, 2, 0), Some(Verdict::Rejected));
    }

    #[test]
    fn a_node_that_fails_neither_accepts_nor_rejects() {
        assert_eq!(verdict(5, 2, 0, 2), None);
        assert_eq!(verdict(5, 2, 0, 3), Some(Verdict::Undecided));
        assert_eq!(verdict(5, 2, 2, 1), Some(Verdict::Undecided));
        // The fifth node may yet be the third to answer.
        assert_eq!(verdict(5, 0, 2, 2), None);
        assert_eq!(verdict(5, 1, 2, 1), Some(Verdict::Undecided));
        assert_eq!(verdict(5, 0, 0, 3), Some(Verdict::Undecided));
        assert_eq!(verdict(3, 0, 2, 1), Some(Verdict::Rejected));
    }

    #[test]
    fn a_holder_needs_a_majority_of_the_nodes_configured() {
        let holders = [b"a", b"b", b"a", b"a"].map(|value| Holder::stored("k", value));
        let id = |nodes, seen: &[Holder]| majority_holder(nodes, seen).and_then(Holder::id);
        assert_eq!(id(5, &holders), holders[0].id());
        assert_eq!((id(5, &holders[..3]), id(3, &holders[..2]), id(3, &[])), (None, None, None));
        assert_eq!(id(3, &holders[..3]), holders[0].id());
    }

    #[test]
    fn a_majority_is_free_when_enough_leases_have_lapsed() {
        let busy = |seconds: &[u64]| seconds.iter().map(|s| Some(Duration::from_secs(*s))).collect();
        assert_eq!(majority_free_in(5, busy(&[3, 1, 2])), Some(Duration::from_secs(1)));
        assert_eq!(majority_free_in(5, busy(&[5, 4, 3, 2, 1])), Some(Duration::from_secs(3)));
        assert_eq!(majority_free_in(5, busy(&[9, 9])), Some(Duration::ZERO));
        assert_eq!(majority_free_in(3, vec![None, Some(Duration::from_secs(1)), None]), None);
    }
}
