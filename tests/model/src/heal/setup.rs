//! What is checked: how nodes are healed, and which faults occur.

use super::state::OWNERS;

/// How a node that has lost a lease takes it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heal {
    /// As in the library.
    Complete,
    /// A node that takes the lock again counts in the same round.
    CountsInItsRound,
    /// A node takes the lock again even if another owner has it.
    TakesFromOthers,
    /// A node takes the lock again even during its restart delay.
    InsideTheDelay,
    /// A node that takes the lock again does not raise its fence.
    WithoutRaise,
}

/// Which losses of data occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    /// Any node, at any time. The clock of a node that has lost its counter is above every fence granted.
    AnyWithClock,
    /// One node after the other under a lease that all other nodes have, with its token, while no acquire is
    /// under way. Nodes have no clock.
    RollingWithoutClock,
}

/// A variant of the protocol, and the faults that occur.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// The name in the table.
    pub name: &'static str,
    /// How a node that has lost a lease takes it again.
    pub heal: Heal,
    /// Which losses of data occur.
    pub losses: Losses,
    /// How many times a node loses its data.
    pub forgets: u8,
    /// How many rounds of renewal each owner sends; `None` if the owner takes no part.
    pub rounds: [Option<u8>; OWNERS],
}

impl Variant {
    /// The library's protocol. Nodes lose their data at any time.
    pub const COMPLETE: Self = Self {
        name: "heal",
        heal: Heal::Complete,
        losses: Losses::AnyWithClock,
        forgets: 1,
        rounds: [Some(2), Some(0), Some(0)],
    };
    /// The library's protocol. Two nodes lose their data, one after the other or at once.
    pub const TWICE: Self =
        Self { name: "heal, two losses", forgets: 2, rounds: [Some(2), Some(0), None], ..Self::COMPLETE };
    /// The library's protocol. All nodes lose their data one after the other, and the token outlasts that
    /// without any clock.
    pub const ROLLING: Self = Self {
        name: "heal, rolling loss without clocks",
        losses: Losses::RollingWithoutClock,
        forgets: 3,
        rounds: [Some(3), Some(0), None],
        ..Self::COMPLETE
    };

    /// Unsound: the heal lasts as long as the round before, and counts as if it lasted longer.
    pub const OWN_ROUND: Self =
        Self { name: "heal counts in its round", heal: Heal::CountsInItsRound, ..Self::COMPLETE };
    /// Unsound: a late heal takes the lock from another owner.
    pub const WITHOUT_NX: Self =
        Self { name: "heal without NX", heal: Heal::TakesFromOthers, ..Self::COMPLETE };
    /// Unsound: an acquire that was granted the lock before the loss may still be under way.
    pub const INSIDE_THE_DELAY: Self =
        Self { name: "heal inside the delay", heal: Heal::InsideTheDelay, ..Self::COMPLETE };
    /// Unsound: all nodes lose the token.
    pub const WITHOUT_RAISE: Self =
        Self { name: "rolling loss without the raise", heal: Heal::WithoutRaise, ..Self::ROLLING };

    /// All variants, the sound ones first.
    pub const ALL: [Self; 7] = [
        Self::COMPLETE,
        Self::TWICE,
        Self::ROLLING,
        Self::OWN_ROUND,
        Self::WITHOUT_NX,
        Self::INSIDE_THE_DELAY,
        Self::WITHOUT_RAISE,
    ];
}
