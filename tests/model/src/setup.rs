//! What is checked: the protocol and what is left out of it, from where it starts, and what goes wrong.

use crate::state::{CLIENTS, Fence, OWNERS, SERVERS};

/// How a token is agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// As the library does it.
    Complete,
    /// The highest fence granted is the token.
    NoRaise,
    /// A server raises its fence whoever has its lock.
    RaiseForAnyone,
    /// A server that has stored a higher fence for the same owner counts as well.
    AtLeast,
}

impl Rule {
    pub(crate) fn asks_for_lock(self) -> bool {
        self != Self::RaiseForAnyone
    }

    pub(crate) fn asks_for_low_fence(self) -> bool {
        self != Self::AtLeast
    }
}

/// What the clock of a server that has forgotten everything says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// It is not asked.
    Absent,
    /// More than every fence granted: it has not stepped back.
    Right,
    /// It has stepped back to the highest fence granted.
    SteppedBack,
    /// More than every token held, but not than every fence granted.
    AboveTokens,
}

/// A protocol under certain faults.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// What the table says of it.
    pub name: &'static str,
    /// How a token is agreed on.
    pub rule: Rule,
    /// What the clock of a server that has forgotten everything says.
    pub clock: Clock,
    /// How many times a server forgets everything.
    pub forgets: u8,
    /// How many requests for a grant arrive twice.
    pub repeats: u8,
    /// How many acquisitions each client makes.
    pub attempts: [u8; CLIENTS],
}

impl Variant {
    /// The library's protocol, and nothing worse than messages that are late or lost, leases that lapse, and clients that crash.
    pub const COMPLETE: Self = Self {
        name: "complete",
        rule: Rule::Complete,
        clock: Clock::Absent,
        forgets: 0,
        repeats: 0,
        attempts: [2, 2],
    };
    /// A request for a grant that comes once more may lock again, for an owner whose lease has lapsed or who has ended.
    pub const REPEATED: Self =
        Self { name: "request arrives twice", repeats: 1, attempts: [2, 1], ..Self::COMPLETE };
    /// The clock covers for the counter that was lost.
    pub const FORGETFUL: Self = Self::forgetful("server forgets, clock right", Clock::Right);

    /// Unsound.
    pub const NO_RAISE: Self = Self { name: "no raise", rule: Rule::NoRaise, ..Self::COMPLETE };
    /// Unsound.
    pub const RAISE_FOR_ANYONE: Self =
        Self { name: "raise for anyone", rule: Rule::RaiseForAnyone, ..Self::COMPLETE };
    /// Unsound.
    pub const AT_LEAST: Self = Self { name: "higher fence counts", rule: Rule::AtLeast, ..Self::COMPLETE };
    /// Unsound.
    pub const NO_CLOCK: Self = Self::forgetful("server forgets, no clock", Clock::Absent);
    /// Unsound.
    pub const STEPPED_BACK: Self = Self::forgetful("server forgets, clock stepped back", Clock::SteppedBack);
    /// Unsound.
    pub const ABOVE_TOKENS: Self =
        Self::forgetful("server forgets, clock above tokens only", Clock::AboveTokens);

    /// The sound ones first.
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

    /// With three acquisitions in all: with four, this takes minutes for each starting state.
    const fn forgetful(name: &'static str, clock: Clock) -> Self {
        Self { name, clock, forgets: 1, attempts: [2, 1], ..Self::COMPLETE }
    }
}

/// A starting state.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The fences that the servers have stored: above 0, which is what a server that forgets falls back to.
    pub counters: [Fence; SERVERS],
    /// The client's clock for each acquisition, two for each client.
    pub proposals: [Fence; OWNERS],
}

impl Start {
    /// Below every counter: each server grants one more than it has stored.
    pub const LOW: [Fence; OWNERS] = [0, 0, 0, 0];
    /// Above every counter.
    pub const EQUAL: [Fence; OWNERS] = [4, 4, 4, 4];
    /// One client's clock is ahead of the other's.
    pub const UNEQUAL: [Fence; OWNERS] = [2, 2, 4, 4];
    /// One client's clock steps forward between its acquisitions, the other's steps back.
    pub const STEPPING: [Fence; OWNERS] = [2, 5, 4, 3];

    /// The four above.
    pub const PROPOSALS: [[Fence; OWNERS]; 4] = [Self::LOW, Self::EQUAL, Self::UNEQUAL, Self::STEPPING];

    /// Equal and unequal counters.
    pub fn all(proposals: [Fence; OWNERS]) -> [Self; 3] {
        [[1, 1, 1], [1, 1, 2], [1, 2, 3]].map(|counters| Self { counters, proposals })
    }
}

/// One run of the checker.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The protocol and its faults.
    pub variant: Variant,
    /// Where it starts.
    pub start: Start,
}
