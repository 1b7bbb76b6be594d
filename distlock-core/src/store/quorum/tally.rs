//! Counts the nodes' answers: when they decide, and what.

use std::{fmt::Write, time::Duration};

use crate::{
    error::{StoreError, StoreErrorKind},
    token::FencingToken,
};

/// A set of nodes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct NodeSet(u64);

/// As many as a set can hold.
pub(super) const MOST_NODES: usize = 64;

impl NodeSet {
    pub(super) const ALL: Self = Self(u64::MAX);

    pub(super) fn insert(self, node: usize) -> Self {
        Self(self.0 | 1 << node)
    }

    pub(super) fn minus(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..MOST_NODES).filter(move |node| self.has(*node))
    }

    pub(super) fn has(self, node: usize) -> bool {
        self.0 & 1 << node != 0
    }

    pub(super) fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// The majority of the nodes configured: two majorities meet in a node.
pub(super) fn majority(nodes: usize) -> usize {
    nodes / 2 + 1
}

/// A question to all nodes that each answers by yes, by no, or not at all.
pub(super) struct Tally {
    nodes: usize,
    yes: NodeSet,
    no: NodeSet,
    failed: Vec<(usize, StoreError)>,
}

/// What the nodes' answers come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A majority said yes.
    Yes,
    /// So many said no that no majority can say yes, whatever the others would say.
    No,
    /// A majority did not answer, or those that did are divided.
    Unknown,
}

impl Tally {
    pub(super) fn new(nodes: usize) -> Self {
        Self { nodes, yes: NodeSet::default(), no: NodeSet::default(), failed: Vec::new() }
    }

    pub(super) fn record(&mut self, node: usize, answer: Result<bool, StoreError>) {
        match answer {
            Ok(true) => self.yes = self.yes.insert(node),
            Ok(false) => self.no = self.no.insert(node),
            Err(error) => self.failed.push((node, error)),
        }
    }

    /// The verdict, as soon as no answer that is still to come can change it.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let (yes, no) = (self.yes.count(), self.no.count());
        let majority = majority(self.nodes);
        let to_come = self.nodes - yes - no - self.failed.len();
        if yes >= majority {
            Some(Verdict::Yes)
        } else if self.nodes - no < majority {
            Some(Verdict::No)
        } else if yes + to_come < majority {
            // Those that failed might have said yes, or no.
            Some(Verdict::Unknown)
        } else {
            None
        }
    }

    pub(super) fn failed(&self) -> NodeSet {
        self.failed.iter().fold(NodeSet::default(), |nodes, (node, _)| nodes.insert(*node))
    }

    /// The nodes that have not answered.
    pub(super) fn to_come(&self) -> NodeSet {
        (0..self.nodes)
            .fold(NodeSet::default(), NodeSet::insert)
            .minus(self.yes.union(self.no).union(self.failed()))
    }

    /// Whether a majority answered at all.
    pub(super) fn is_quorate(&self) -> bool {
        self.yes.count() + self.no.count() >= majority(self.nodes)
    }

    /// Why there is no verdict, node by node.
    pub(super) fn error<'a>(mut self, name: impl Fn(usize) -> &'a str) -> StoreError {
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

/// When a majority may be free: the nodes that are free or ours are short of it by so many of the held ones.
pub(super) fn free_in(nodes: usize, mut held: Vec<Option<Duration>>) -> Option<Duration> {
    // One without expiry comes last.
    held.sort_by_key(|left| left.unwrap_or(Duration::MAX));
    let missing = (majority(nodes) + held.len()).saturating_sub(nodes);
    missing.checked_sub(1).map_or(Some(Duration::ZERO), |last| held[last])
}

/// The highest fencing token granted, and the nodes that granted exactly that.
pub(super) fn highest(grants: &[(usize, FencingToken)]) -> Option<(FencingToken, NodeSet)> {
    let highest = grants.iter().map(|(_, fence)| *fence).max()?;
    let exact = grants.iter().filter(|(_, fence)| *fence == highest);
    Some((highest, exact.fold(NodeSet::default(), |nodes, (node, _)| nodes.insert(*node))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(nodes: usize, yes: usize, no: usize, failed: usize) -> Option<Verdict> {
        let mut tally = Tally::new(nodes);
        let answers = [(yes, Ok(true)), (no, Ok(false)), (failed, Err(StoreError::timed_out()))];
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
        assert_eq!(verdict(5, 3, 0, 0), Some(Verdict::Yes));
        assert_eq!(verdict(5, 2, 2, 0), None);
        assert_eq!(verdict(5, 0, 3, 0), Some(Verdict::No));
        assert_eq!(verdict(5, 2, 3, 0), Some(Verdict::No));
        // Two of four are no majority, and keep anybody else from one.
        assert_eq!(verdict(4, 2, 1, 0), None);
        assert_eq!(verdict(4, 2, 2, 0), Some(Verdict::No));
    }

    #[test]
    fn silence_is_no_answer() {
        assert_eq!(verdict(5, 2, 0, 2), None);
        assert_eq!(verdict(5, 2, 0, 3), Some(Verdict::Unknown));
        assert_eq!(verdict(5, 2, 2, 1), Some(Verdict::Unknown));
        assert_eq!(verdict(5, 0, 0, 3), Some(Verdict::Unknown));
        assert_eq!(verdict(3, 0, 2, 1), Some(Verdict::No));
    }

    #[test]
    fn a_majority_is_free_when_enough_leases_have_lapsed() {
        let held = |seconds: &[u64]| seconds.iter().map(|s| Some(Duration::from_secs(*s))).collect();
        assert_eq!(free_in(5, held(&[3, 1, 2])), Some(Duration::from_secs(1)));
        assert_eq!(free_in(5, held(&[5, 4, 3, 2, 1])), Some(Duration::from_secs(3)));
        assert_eq!(free_in(5, held(&[9, 9])), Some(Duration::ZERO));
        assert_eq!(free_in(3, vec![None, Some(Duration::from_secs(1)), None]), None);
    }
}
