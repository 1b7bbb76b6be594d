//! The quorum's fencing-token protocol as a model that stateright checks exhaustively: every order of messages, however late.
//!
//! Each acquisition has its own owner token and asks three servers for grants with one proposal. It **chooses** the highest
//! fence that a majority granted, has the servers where its lock still is **raise** theirs to it, and **holds** the token when a
//! majority has stored exactly that. A client makes two acquisitions, one after the other, and may give one up or crash at
//! any time; what it has sent stays under way, and may arrive long after.
//!
//! # What is claimed
//! - **unique**: no two acquisitions hold the same token.
//! - **rising**: an acquisition holds a higher token than every one that was held before the first server granted its lock.
//!
//! *Later* counts from the first grant, not from the first request, which is stricter: a request may wait on the network while
//! others hold tokens. Nothing is claimed about the order of two acquisitions that overlap. Leases lapse at any moment here, so that
//! one may be granted its locks first and hear of it last, with the lower token; only leases keep both from holding at a time.
//! No history is kept in full: the order of events matters to nothing but this comparison, so that each acquisition
//! carries the highest token that was held before it.
//!
//! # What a step is, and why nothing is lost by it
//! - A message that is lost, or refused by a server, has no effect, as if it were under way forever. So there is neither loss nor
//!   refusal, and a client that crashed for good is one that takes no more steps.
//! - A lease that lapses (or is released) matters only to the next grant on that server: a raise that is refused because of it may as well
//!   be under way forever. So a grant comes at any moment, whoever has the lock, and takes the lock from them.
//! - An answer does nothing on its arrival. So a client chooses among all that was answered: any subset that is a majority
//!   may be what it has heard of.
//! - A token is held as soon as a majority has stored it, not when its client hears of that. Without that knowledge the client
//!   could only hold it later, or not at all, and less would be asked of the others' tokens. That it may not remember the fence
//!   either, for its next proposal, is a step.
//! - Raises may well arrive twice, which changes nothing. Grants that arrive twice may lock again for an owner whose lease has lapsed;
//!   [`Variant::repeats`] says how many do.
//! - The servers differ in what they store, and by nothing else: they are kept sorted. So are the clients, if their clocks are alike.
//!
//! # What is not in it
//! - Renewal, which changes no token, and the validity time, which only makes clients give up.
//! - A proposal that a server clips to its own clock: servers grant different fences, as they do with unequal counters.
//! - More than three servers, two clients, two acquisitions each, and one loss of data or one request that arrives twice: these two
//!   with one acquisition less, for the time it takes.
//! - The clock itself. A right one is assumed to be above every fence granted anywhere, and [`Clock`] has what happens otherwise.
//!
//! The checker knows a state by 64 bits of its hash.

mod protocol;
mod setup;
mod state;

pub use protocol::Step;
pub use setup::{Clock, Rule, Setup, Start, Variant};
pub use state::{Fence, State};

use stateright::{Checker, HasDiscoveries, Model};

/// The outcome of a run.
#[derive(Debug)]
pub struct Report {
    /// Distinct states that were seen: all there are, unless something was refuted.
    pub states: usize,
    /// The claims that do not hold.
    pub refuted: Vec<&'static str>,
    /// Whether all acquisitions can hold a token in one run: claims about none would be empty.
    pub all_held: bool,
}

/// Looks at every state, or stops soon after the first that refutes a claim.
///
/// # Panics
/// If it has not looked at all.
pub fn check(setup: Setup) -> Report {
    // In one thread, breadth-first: no bound on time, depth or number, so that it ends early on a counterexample only.
    let checker = setup.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    assert!(checker.is_done(), "the checker left states unseen");
    let mut refuted: Vec<_> = checker.discoveries().into_keys().collect();
    let found = refuted.len();
    refuted.retain(|name| *name != protocol::ALL_HELD);
    refuted.sort_unstable();
    Report { states: checker.unique_state_count(), all_held: refuted.len() < found, refuted }
}
