//! What is checked: a variant of the protocol, the faults that occur, and the starting state.

use crate::state::{CLIENTS, Fence, NODES, OWNERS};

/// How a fencing token is agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// As in the library.
    Complete,
    /// Without raises: the highest fence granted is the fencing token.
    NoRaise,
    /// A node raises its fence even if the acquisition does not have its lock.
    RaiseForAnyone,
    /// A node that has stored a higher fence for the same owner counts towards the majority too.
    AtLeast,
}

impl Rule {
    /// Whether a node accepts a raise only from the acquisition that has its lock.
    pub(crate) fn raise_needs_lock(self) -> bool {
        self != Self::RaiseForAnyone
    }

    /// Whether a node accepts a raise only if it has stored no higher fence.
    pub(crate) fn raise_needs_low_fence(self) -> bool {
        self != Self::AtLeast
    }
}

/// What the clock of a node says after the node has forgotten everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The node does not ask its clock.
    Absent,
    /// More than every fence granted: the clock has not stepped back.
    Right,
    /// The highest fence granted, because the clock has stepped back.
    SteppedBack,
    /// More than every fencing token held, but not more than every fence granted.
    AboveTokens,
}

/// A variant of the protocol, and the faults that occur.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// The name in the table.
    pub name: &'static str,
    /// How a fencing token is agreed on.
    pub rule: Rule,
    /// What the clock of a node says after the node has forgotten everything.
    pub clock: Clock,
    /// How many times a node forgets everything.
    pub forgets: u8,
    /// How many requests for a grant arrive twice.
    pub repeats: u8,
    /// How many acquisitions each client makes.
    pub attempts: [u8; CLIENTS],
}

impl Variant {
    /// The library's protocol. The only faults are messages that are late or lost, leases that end, and
    /// clients that crash.
    pub const COMPLETE: Self = Self {
        name: "complete",
        rule: Rule::Complete,
        clock: Clock::Absent,
        forgets: 0,
        repeats: 0,
        attempts: [2, 2],
    };
    /// One request for a grant arrives twice, and may lock again for an owner whose lease or acquisition has
    /// ended.
    pub const REPEATED: Self =
        Self { name: "request arrives twice", repeats: 1, attempts: [2, 1], ..Self::COMPLETE };
    /// One node loses its counter, and its clock makes up for it.
    pub const FORGETFUL: Self = Self::forgetful("node forgets, clock right", Clock::Right);

    /// Unsound: there is no raise.
    pub const NO_RAISE: Self = Self { name: "no raise", rule: Rule::NoRaise, ..Self::COMPLETE };
    /// Unsound: a raise does not need the node's lock.
    pub const RAISE_FOR_ANYONE: Self =
        Self { name: "raise for anyone", rule: Rule::RaiseForAnyone, ..Self::COMPLETE };
    /// Unsound: a higher fence counts towards the majority.
    pub const AT_LEAST: Self = Self { name: "higher fence counts", rule: Rule::AtLeast, ..Self::COMPLETE };
    /// Unsound: a node loses its counter, and does not ask its clock.
    pub const NO_CLOCK: Self = Self::forgetful("node forgets, no clock", Clock::Absent);
    /// Unsound: a node loses its counter, and its clock has stepped back.
    pub const STEPPED_BACK: Self = Self::forgetful("node forgets, clock stepped back", Clock::SteppedBack);
    /// Unsound: a node loses its counter, and its clock is below fences that were granted but never held.
    pub const ABOVE_TOKENS: Self =
        Self::forgetful("node forgets, clock above tokens only", Clock::AboveTokens);

    /// All variants, the sound ones first.
    pub const ALL: [Self; 9] = [
        Self::COMPLETE,
        Self::REPEATED,
        Self::FORGETFUL,
        Self::NO_RAISE,
        Self::RAISE_FOR_ANYONE,
        Self::AT_LEAST,
        Self::NO_CLOCK,
        Self::STEPPED_BACK,
        Self::ABOVE_TOKENS,
    ];

    /// One node forgets everything. There are three acquisitions in all, because with four the check takes
    /// minutes for each starting state.
    const fn forgetful(name: &'static str, clock: Clock) -> Self {
        Self { name, clock, forgets: 1, attempts: [2, 1], ..Self::COMPLETE }
    }
}

/// The starting state of the nodes and of the clients' clocks.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The fences that the nodes have stored. They are above 0, to which a node falls back when it forgets
    /// everything.
    pub counters: [Fence; NODES],
    /// What the client's clock says at each acquisition, two for each client.
    pub proposals: [Fence; OWNERS],
}

impl Start {
    /// All below every counter: each node grants one more than it has stored.
    pub const LOW: [Fence; OWNERS] = [0, 0, 0, 0];
    /// All equal, and above every counter.
    pub const EQUAL: [Fence; OWNERS] = [4, 4, 4, 4];
    /// One client's clock is ahead of the other's.
    pub const UNEQUAL: [Fence; OWNERS] = [2, 2, 4, 4];
    /// One client's clock steps forward between its acquisitions, the other's steps back.
    pub const STEPPING: [Fence; OWNERS] = [2, 5, 4, 3];

    /// The four lists of proposals above.
    pub const PROPOSALS: [[Fence; OWNERS]; 4] = [Self::LOW, Self::EQUAL, Self::UNEQUAL, Self::STEPPING];

    /// Returns the starting states with these proposals: one with equal counters, two with unequal ones.
    pub fn all(proposals: [Fence; OWNERS]) -> [Self; 3] {
        [[1, 1, 1], [1, 1, 2], [1, 2, 3]].map(|counters| Self { counters, proposals })
    }
}

/// One run of the checker.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The protocol and its faults.
    pub variant: Variant,
    /// The starting state.
    pub start: Start,
}
