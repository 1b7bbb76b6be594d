//! The state of the model: nodes, owners, and the messages between them.

use crate::Fence;

pub(crate) const NODES: usize = 3;
pub(crate) const MAJORITY: usize = NODES / 2 + 1;
pub(crate) const OWNERS: usize = 3;

/// The number of a round of renewal. 0 is the grant.
pub(crate) type Round = u8;

/// One state of all nodes and owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State {
    /// The nodes, sorted, because their order does not matter.
    pub(crate) nodes: [Node; NODES],
    pub(crate) owners: [Owner; OWNERS],
    /// The highest fence granted so far. Only kept if clocks depend on it.
    pub(crate) highest: Fence,
    /// The highest token held so far.
    pub(crate) highest_token: Fence,
    /// Whether a token was held that was not higher than all before.
    pub(crate) fell: bool,
    /// How many more times a node may lose its data.
    pub(crate) forgets: u8,
    /// Whether a round counted with a node that had been healed. For the check that this happens.
    pub(crate) healed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node {
    /// The owner that has the lock, and the latest round by which its lease lasts.
    pub(crate) lock: Option<(u8, Round)>,
    /// Whether the owner that has the lock was healed here.
    pub(crate) healed: bool,
    /// The fence that the node has stored.
    pub(crate) stored: Fence,
    /// Whether the node has lost its counter, so that its clock makes up for it. Only kept if nodes have one.
    pub(crate) by_clock: bool,
    /// During the restart delay: for each owner that was asking or valid at the loss, the latest round that
    /// it had sent.
    pub(crate) delay: Option<[Option<Round>; OWNERS]>,
    pub(crate) messages: [Messages; OWNERS],
}

/// The messages between one owner and one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Messages {
    /// Whether a request for a grant is under way.
    pub(crate) requested: bool,
    /// The fence that the node granted, or the chosen one once the node has stored it. 0 if neither.
    pub(crate) answer: Fence,
    /// What the node has answered to the current round.
    pub(crate) reply: Reply,
    /// The rounds whose rests of validity heals carry that are under way, one bit for each.
    pub(crate) heals: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reply {
    #[default]
    None,
    Extended,
    NotYours,
    /// After `NotYours`: a heal of this round was executed.
    TakenAgain,
}

/// How far an owner is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    #[default]
    Idle,
    /// Has sent its requests, within their validity.
    Asking,
    /// Has a valid lease.
    Valid,
    /// Has given up, was released, lost its lease, or crashed.
    Ended,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) phase: Phase,
    /// The chosen fence, which is the token from `Valid` on. 0 before.
    pub(crate) token: Fence,
    /// The latest round that was sent.
    pub(crate) sent: Round,
    /// The latest round that counted.
    pub(crate) counted: Round,
}

impl Owner {
    /// Whether the validity of a round may be going on.
    pub(crate) fn is_under(self, round: Round) -> bool {
        match self.phase {
            Phase::Asking => true,
            Phase::Valid => round >= self.counted,
            Phase::Idle | Phase::Ended => false,
        }
    }
}

impl State {
    /// How many nodes' messages with an owner satisfy a condition.
    pub(crate) fn count(&self, owner: usize, is: impl Fn(Messages) -> bool) -> usize {
        self.nodes.iter().filter(|node| is(node.messages[owner])).count()
    }

    pub(crate) fn in_phase(&self, phase: Phase) -> impl Iterator<Item = usize> {
        (0..OWNERS).filter(move |owner| self.owners[*owner].phase == phase)
    }

    /// Ends an owner. What it has been answered matters no more.
    pub(crate) fn end(&mut self, owner: usize) {
        self.owners[owner].phase = Phase::Ended;
        for messages in self.nodes.iter_mut().map(|node| &mut node.messages[owner]) {
            (messages.answer, messages.reply) = (0, Reply::None);
        }
    }

    /// Clears what has no effect on any later step, and sorts the nodes.
    pub(crate) fn normalise(&mut self) {
        for at in 0..OWNERS {
            if self.owners[at].phase == Phase::Ended {
                let heals = self.nodes.iter().any(|node| node.messages[at].heals != 0);
                let token = if heals { self.owners[at].token } else { 0 };
                self.owners[at] = Owner { phase: Phase::Ended, token, ..Owner::default() };
                for node in &mut self.nodes {
                    node.lock = node
                        .lock
                        .map(|(owner, round)| (owner, if usize::from(owner) == at { 0 } else { round }));
                    // What it carries lasts as long as the node likes.
                    node.messages[at].heals = u8::from(node.messages[at].heals != 0);
                }
            }
        }
        for node in &mut self.nodes {
            node.healed &= node.lock.is_some();
            if let Some(delay) = &mut node.delay {
                for (at, sent) in delay.iter_mut().enumerate() {
                    *sent = sent.filter(|sent| self.owners[at].is_under(*sent));
                }
            }
        }
        self.nodes.sort_unstable();
    }
}
