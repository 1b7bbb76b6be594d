//! The steps of nodes and clients, and the claims.

use stateright::{Model, Property};

use crate::{
    client::choose,
    setup::{Rule, Setup},
    state::{Acquisition, CLIENTS, Messages, NODES, Node, OWNERS, State, is_majority},
};

/// A step. The number of a node is its place in the sorted list of the state before the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node grants its lock, which is free or whose lease has just ended.
    Grant {
        /// Which node.
        node: usize,
        /// To which acquisition.
        owner: usize,
        /// Whether the request will arrive once more.
        arrives_again: bool,
        /// Whether the answer is lost.
        answer_lost: bool,
    },
    /// A client has received the answers of some nodes, and chooses the highest fence that they granted.
    Choose {
        /// For which acquisition.
        owner: usize,
        /// Which nodes' answers, one bit for each node.
        heard: u8,
    },
    /// A node stores the chosen fence.
    Raise {
        /// Which node.
        node: usize,
        /// For which acquisition.
        owner: usize,
    },
    /// A client gives up, or crashes, and begins its next acquisition.
    GiveUp {
        /// Which client.
        client: usize,
    },
    /// A client has crashed before its current acquisition, and does not remember the fence that it has seen.
    LoseMemory {
        /// Which client.
        client: usize,
    },
    /// A node loses all its data.
    Forget {
        /// Which node.
        node: usize,
    },
}

/// The name of the property that a run exists in which every acquisition holds a fencing token.
pub(crate) const ALL_HELD: &str = "all held";

impl Model for Setup {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let node = |stored| Node { holder: None, stored, messages: [Messages::default(); OWNERS] };
        let mut state = State {
            nodes: self.start.counters.map(node),
            acquisitions: [Acquisition::default(); OWNERS],
            ended: [0; CLIENTS],
            highest: 0,
            forgets: self.variant.forgets,
            repeats: self.variant.repeats,
        };
        for fence in self.start.counters {
            self.note_granted(&mut state, fence);
        }
        for client in 0..CLIENTS {
            self.begin(&mut state, client, None);
        }
        self.normalise(&mut state);
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if self.all_ended(state) {
            return;
        }
        for (at, node) in state.nodes.iter().enumerate() {
            for (owner, messages) in node.messages.iter().enumerate() {
                if messages.grant_requested {
                    Self::grants(state, at, owner, steps);
                }
                if messages.raise_to > 0 && self.accepts_raise(node, owner) {
                    steps.push(Step::Raise { node: at, owner });
                }
            }
            if state.forgets > 0 && node.stored > 0 {
                steps.push(Step::Forget { node: at });
            }
        }
        for client in (0..CLIENTS).filter(|client| !self.has_ended(state, *client)) {
            let owner = state.owner(client);
            if state.acquisitions[owner].chosen == 0 {
                let answered = state.answered(owner);
                let heard = (0..1 << NODES).filter(|heard| heard & !answered == 0 && is_majority(*heard));
                steps.extend(heard.map(|heard| Step::Choose { owner, heard }));
            }
            if self.can_lose_memory(state, owner) {
                steps.push(Step::LoseMemory { client });
            }
            // Giving up the last acquisition is the same as taking no more steps.
            if state.ended[client] + 1 < self.variant.attempts[client] {
                steps.push(Step::GiveUp { client });
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = *last;
        match step {
            Step::Grant { node, owner, arrives_again, answer_lost } => {
                if arrives_again {
                    state.repeats -= 1;
                } else {
                    state.nodes[node].messages[owner].grant_requested = false;
                }
                self.grant(&mut state, node, owner, answer_lost);
            }
            Step::Choose { owner, heard } => {
                choose(&mut state, owner, heard, self.variant.rule != Rule::NoRaise);
            }
            Step::Raise { node, owner } => {
                let is_ongoing = state.is_ongoing(owner);
                let node = &mut state.nodes[node];
                let messages = &mut node.messages[owner];
                // A higher fence is stored already only if the variant accepts a raise to a lower one.
                node.stored = node.stored.max(messages.raise_to);
                if is_ongoing {
                    messages.answer = messages.raise_to;
                }
                messages.raise_to = 0;
            }
            Step::GiveUp { client } => self.end(&mut state, client),
            Step::LoseMemory { client } => {
                let owner = state.owner(client);
                state.acquisitions[owner].proposal = self.start.proposals[owner];
            }
            Step::Forget { node } => {
                state.forgets -= 1;
                state.nodes[node].holder = None;
                state.nodes[node].stored = 0;
            }
        }
        for client in 0..CLIENTS {
            self.hold(&mut state, client);
        }
        self.normalise(&mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("unique", |_, state: &State| {
                let tokens = state.acquisitions.map(|acquisition| acquisition.token);
                (1..OWNERS).all(|at| tokens[at] == 0 || !tokens[..at].contains(&tokens[at]))
            }),
            Property::always("rising", |_, state: &State| {
                state
                    .acquisitions
                    .iter()
                    .all(|acquisition| acquisition.token == 0 || acquisition.token > acquisition.floor)
            }),
            Property::sometimes(ALL_HELD, |setup: &Setup, state: &State| {
                let held = state.acquisitions.iter().filter(|acquisition| acquisition.token > 0).count();
                held == setup.variant.attempts.into_iter().map(usize::from).sum::<usize>()
            }),
        ]
    }
}
