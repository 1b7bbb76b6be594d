//! Locks on a quorum of nodes, some of which fail.

mod nodes;
