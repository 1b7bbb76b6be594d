//! A set of a quorum's nodes, by their index.

/// The most nodes that a quorum can have: as many as a [`NodeSet`] has bits.
pub(super) const MAX_NODES: usize = 64;

/// A set of nodes, each given by its index in the quorum.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct NodeSet(u64);

impl NodeSet {
    /// Every index, whether or not the quorum has so many nodes.
    pub(super) const ALL: Self = Self(u64::MAX);

    pub(super) const fn new() -> Self {
        Self(0)
    }

    pub(super) fn insert(&mut self, node: usize) {
        self.0 |= 1 << node;
    }

    pub(super) fn remove(&mut self, node: usize) {
        self.0 &= !(1 << node);
    }

    pub(super) fn contains(self, node: usize) -> bool {
        self.0 & 1 << node != 0
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The nodes of this set that are not in the other one.
    pub(super) fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The indices in ascending order.
    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_NODES).filter(move |node| self.contains(*node))
    }
}

impl FromIterator<usize> for NodeSet {
    fn from_iter<I: IntoIterator<Item = usize>>(nodes: I) -> Self {
        let mut set = Self::new();
        nodes.into_iter().for_each(|node| set.insert(node));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_reaches_from_the_first_node_to_the_last() {
        let mut set: NodeSet = [0, 7, MAX_NODES - 1].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 7, MAX_NODES - 1]);
        set.remove(7);
        set.remove(8);
        assert_eq!((set.len(), set.contains(7), set.contains(0)), (2, false, true));
        assert!(set.minus(NodeSet::ALL).is_empty());
        assert_eq!(NodeSet::new().union(set), set);
    }
}
