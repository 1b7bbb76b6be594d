//! A model of the quorum's fencing-token protocol. stateright checks it exhaustively: every order of
//! messages, however late they arrive.
//!
//! Each acquisition has its own owner token, and asks three nodes for grants with one proposal. It
//! **chooses** the highest fence that a majority of nodes has granted. It asks the nodes to **raise** their
//! fence to the chosen one, which a node does if the acquisition still has its lock. The acquisition
//! **holds** the chosen fence as its fencing token when a majority has stored exactly that fence. A client
//! makes two acquisitions, one after the other. It may give one up or crash at any time; its messages stay
//! under way, and may arrive long after.
//!
//! # What is claimed
//! - **unique**: no two acquisitions hold the same fencing token.
//! - **rising**: the fencing token of an acquisition is higher than every fencing token that was held before
//!   a node first granted its lock to this acquisition.
//!
//! The order counts from the first grant, not from the first request. This makes the claim stricter, because
//! a request may be under way while other acquisitions hold fencing tokens. Nothing is claimed about the
//! order of two acquisitions that overlap. In the model a lease may end at any moment, so an acquisition may
//! be granted its locks first, learn of it last, and hold the lower fencing token. Only leases keep two
//! acquisitions from holding at the same time.
//!
//! The model keeps no history. Each acquisition stores the highest fencing token that was held before its
//! first grant, and no claim needs more.
//!
//! # The steps, and why they cover everything that can happen
//! - A message that is lost, or refused by a node, has no effect, as if it were under way forever. So there
//!   is no step for loss or refusal, and a client that has crashed for good is one that takes no more steps.
//! - A lease that has ended or was released matters only to the next grant on that node: a raise that is
//!   refused because of it may as well be under way forever. So a grant comes at any moment, even if another
//!   acquisition has the lock, and takes the lock from it.
//! - The arrival of an answer is not a step. A client chooses among all answers that were sent: any subset
//!   that is a majority may be what it has received.
//! - A fencing token is held as soon as a majority has stored it, not when its client learns of that. A
//!   client that learns of it later, or never, would hold the token later or not at all, and less would be
//!   asked of the other tokens. The client may also forget the fence before its next proposal; that is a
//!   step.
//! - A raise that arrives twice changes nothing. A request for a grant that arrives twice may lock again for
//!   an owner whose lease has ended; [`Variant::repeats`] says how many do.
//! - Nodes differ only in what they store, so they are kept sorted. The clients are sorted too if their
//!   clocks are alike.
//!
//! # What the model leaves out
//! - Renewal, which changes no fencing token, and the validity time, which only makes clients give up. The
//!   model [`heal`] has both.
//! - The limit that a node's clock sets to a proposal. Nodes grant different fences even without it, because
//!   their counters are unequal.
//! - More than three nodes, two clients, two acquisitions of each client, and one loss of data or one request
//!   that arrives twice. With a loss or a repeat there is one acquisition less, because of the time that the
//!   check takes.
//! - The clock itself. A right clock is assumed to be above every fence granted anywhere. [`Clock`] has the
//!   other cases.
//!
//! The checker tells states apart by a hash of 64 bits.

mod client;
pub mod heal;
mod node;
mod normal_form;
mod protocol;
mod setup;
mod state;

pub use protocol::Step;
pub use setup::{Clock, Rule, Setup, Start, Variant};
pub use state::{Fence, State};

use stateright::{Checker, HasDiscoveries, Model};

/// The result of one check.
#[derive(Debug)]
pub struct Report {
    /// The number of distinct states that were seen. These are all states, unless a claim was refuted.
    pub states: usize,
    /// The claims that were refuted.
    pub refuted: Vec<&'static str>,
    /// Whether there is a run in which every acquisition holds a fencing token. Without one, the claims would
    /// be empty.
    pub all_held: bool,
}

/// Visits every state, or stops soon after the first that refutes a claim.
///
/// # Panics
/// If the checker has not visited every state although no claim was refuted.
pub fn check(setup: Setup) -> Report {
    // Without a bound on time, depth or number of states, the checker ends early only if it finds a
    // counterexample.
    let checker = setup.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    assert!(checker.is_done(), "the checker left states unseen");
    let mut refuted: Vec<_> = checker.discoveries().into_keys().collect();
    let found = refuted.len();
    refuted.retain(|name| *name != protocol::ALL_HELD);
    refuted.sort_unstable();
    Report { states: checker.unique_state_count(), all_held: refuted.len() < found, refuted }
}
