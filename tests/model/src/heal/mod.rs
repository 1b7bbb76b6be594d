//! A second model: leases that are renewed, on nodes that lose them and are healed. stateright checks it
//! exhaustively, as it does the first.
//!
//! An owner asks three nodes for grants, agrees on a fencing token as in the first model, and then renews in
//! rounds. A round **counts** when a majority has answered "was yours, extended" while the lease was valid.
//! To a node that answered "not yours", the owner may send a **heal**: the node takes the lock again for it
//! if the lock is free, and raises its fence to the token.
//!
//! # What is claimed
//! - **exclusive**: no two owners have a valid lease at the same time.
//! - **rising**: a token is higher than every token that was held before.
//!
//! # Time
//! The model has no clock. It knows what must be over when:
//! - A lease that a node was asked for in some round does not end before the validity of that round is over.
//!   It may end at any moment afterwards. Longer leases only keep others out.
//! - The validity of a round is over when the owner has ended, or when a later round counts.
//! - A node that has lost its data grants nothing for its restart delay, which is no shorter than any ttl. So
//!   the delay does not end while an owner is valid by a round that was sent before the loss.
//!
//! # The steps, and why they cover everything that can happen
//! - An owner may end at any moment. That stands for a release, for a loss, and for a crash. Its leases may
//!   then end at any moment, so releases need no step.
//! - Requests for grants and heals stay under way for as long as they like, and arrive even after their owner
//!   has ended. A message that is lost is one that never arrives.
//! - An extension that arrives after its round does nothing that a node could not do by itself, so it has no
//!   step.
//! - A heal carries what was left of the validity by the last round that counted when it was sent.
//! - Each node's answer may be read at any time, or never.
//!
//! # What the model leaves out
//! - More than three nodes, three owners, two rounds and two losses.
//! - A loss that the node does not notice: FLUSHALL, eviction.

mod setup;
mod state;
mod steps;

pub use setup::{Heal, Losses, Variant};
pub use state::State;
pub use steps::Step;

use stateright::{Checker, HasDiscoveries, Model};

use crate::Report;

/// Visits every state, or stops soon after the first that refutes a claim.
///
/// # Panics
/// If the checker has not visited every state although no claim was refuted.
pub fn check(variant: Variant) -> Report {
    let checker = variant.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    assert!(checker.is_done(), "the checker left states unseen");
    let mut refuted: Vec<_> = checker.discoveries().into_keys().collect();
    let found = refuted.len();
    refuted.retain(|name| *name != steps::ALL_SEEN);
    refuted.sort_unstable();
    Report { states: checker.unique_state_count(), all_held: refuted.len() < found, refuted }
}
