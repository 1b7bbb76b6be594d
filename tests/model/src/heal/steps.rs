//! The steps of nodes and owners, and the claims.

use stateright::{Model, Property};

use super::{
    setup::{Heal, Losses, Variant},
    state::{MAJORITY, Messages, NODES, Node, OWNERS, Owner, Phase, Reply, Round, State},
};
use crate::Fence;

/// A step. The number of a node is its place in the sorted list of the state before the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each names what it happens to")]
pub enum Step {
    /// An owner asks all nodes for a grant.
    Ask { owner: usize },
    /// A node grants its lock, which is free.
    Grant { node: usize, owner: usize },
    /// An owner has read the grants so far, which are a majority, and chooses the highest fence.
    Choose { owner: usize },
    /// A node stores the chosen fence.
    Raise { node: usize, owner: usize },
    /// A majority has stored the token, so the lease is valid.
    Hold { owner: usize },
    /// An owner sends a round of renewal. It gives up the round before if that has not counted.
    Send { owner: usize },
    /// A node answers to the current round.
    Extend { node: usize, owner: usize },
    /// A majority has answered to the current round, so it counts.
    Count { owner: usize },
    /// An owner sends a heal to a node that answered "not yours".
    SendHeal { node: usize, owner: usize },
    /// A node takes the lock again.
    TakeAgain { node: usize, owner: usize, round: Round },
    /// An owner ends.
    End { owner: usize },
    /// A lease ends on a node.
    Expire { node: usize },
    /// A node loses all its data, and starts its restart delay.
    Forget { node: usize },
    /// A node's restart delay is over.
    DelayEnds { node: usize },
}

/// The name of the property that a run exists in which a round counts with a healed node, and another owner
/// holds a token afterwards.
pub(crate) const ALL_SEEN: &str = "all seen";

impl Variant {
    fn can_forget(&self, state: &State, at: usize) -> bool {
        let node = &state.nodes[at];
        if state.forgets == 0 || (node.stored == 0 && node.lock.is_none()) {
            return false;
        }
        match self.losses {
            Losses::AnyWithClock => true,
            Losses::RollingWithoutClock => {
                let Some(valid) = state.in_phase(Phase::Valid).next() else { return false };
                let has_it = |node: &Node| {
                    node.delay.is_none()
                        && node.lock.is_some_and(|(owner, _)| usize::from(owner) == valid)
                        && (self.heal == Heal::WithoutRaise || node.stored >= state.owners[valid].token)
                };
                state.in_phase(Phase::Asking).next().is_none()
                    && (0..NODES).filter(|other| *other != at).all(|other| has_it(&state.nodes[other]))
            }
        }
    }

    fn takes_again(&self, node: &Node) -> bool {
        (node.lock.is_none() || self.heal == Heal::TakesFromOthers)
            && (node.delay.is_none() || self.heal == Heal::InsideTheDelay)
    }

    fn fence(state: &State, node: &Node) -> Fence {
        // A node that has kept its counter may have any clock. The hardest case is one that is far behind.
        let clock = if node.by_clock { state.highest + 1 } else { 0 };
        clock.max(node.stored + 1)
    }

    fn counts(&self, messages: Messages) -> bool {
        match messages.reply {
            Reply::Extended => true,
            Reply::TakenAgain => self.heal == Heal::CountsInItsRound,
            Reply::None | Reply::NotYours => false,
        }
    }

    fn steps_of_node(&self, state: &State, at: usize, steps: &mut Vec<Step>) {
        let node = &state.nodes[at];
        for (owner, messages) in node.messages.iter().enumerate() {
            let Owner { phase, token, sent, counted } = state.owners[owner];
            let has_lock = node.lock.is_some_and(|(holder, _)| usize::from(holder) == owner);
            if messages.requested && node.lock.is_none() && node.delay.is_none() {
                steps.push(Step::Grant { node: at, owner });
            }
            if phase == Phase::Asking
                && token > 0
                && has_lock
                && node.stored <= token
                && messages.answer != token
            {
                steps.push(Step::Raise { node: at, owner });
            }
            if phase == Phase::Valid && sent > counted && messages.reply == Reply::None {
                steps.push(Step::Extend { node: at, owner });
            }
            if phase == Phase::Valid
                && messages.reply == Reply::NotYours
                && messages.heals & 1 << counted == 0
            {
                steps.push(Step::SendHeal { node: at, owner });
            }
            if messages.heals != 0 && self.takes_again(node) {
                let rounds = (0..8).filter(|round| messages.heals & 1 << round != 0);
                steps.extend(rounds.map(|round| Step::TakeAgain { node: at, owner, round }));
            }
        }
        if node.lock.is_some_and(|(owner, round)| !state.owners[usize::from(owner)].is_under(round)) {
            steps.push(Step::Expire { node: at });
        }
        if self.can_forget(state, at) {
            steps.push(Step::Forget { node: at });
        }
        let is_over = |sent: &Option<Round>| sent.is_none();
        if node.delay.is_some_and(|delay| delay.iter().all(is_over)) {
            steps.push(Step::DelayEnds { node: at });
        }
    }

    fn steps_of_owner(&self, state: &State, owner: usize, steps: &mut Vec<Step>) {
        let Owner { phase, token, sent, counted } = state.owners[owner];
        match (phase, self.rounds[owner]) {
            (Phase::Idle, Some(_)) => steps.push(Step::Ask { owner }),
            (Phase::Asking, _) => {
                if token == 0 && state.count(owner, |messages| messages.answer > 0) >= MAJORITY {
                    steps.push(Step::Choose { owner });
                }
                if token > 0 && state.count(owner, |messages| messages.answer == token) >= MAJORITY {
                    steps.push(Step::Hold { owner });
                }
                steps.push(Step::End { owner });
            }
            (Phase::Valid, Some(rounds)) => {
                if sent < rounds {
                    steps.push(Step::Send { owner });
                }
                if sent > counted && state.count(owner, |messages| self.counts(messages)) >= MAJORITY {
                    steps.push(Step::Count { owner });
                }
                steps.push(Step::End { owner });
            }
            _ => {}
        }
    }
}

impl Model for Variant {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        // A node with no counter is one that has lost it.
        let nodes = [1, 1, 2].map(|stored| Node { stored, ..Node::default() });
        let owners = [Owner::default(); OWNERS];
        let (highest, forgets) = (2, self.forgets);
        vec![State { nodes, owners, highest, highest_token: 0, fell: false, forgets, healed: false }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for at in 0..NODES {
            self.steps_of_node(state, at, steps);
        }
        for owner in 0..OWNERS {
            self.steps_of_owner(state, owner, steps);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = *last;
        let owner_number = |owner: usize| u8::try_from(owner).expect("few owners");
        match step {
            Step::Ask { owner } => {
                state.owners[owner].phase = Phase::Asking;
                state.nodes.iter_mut().for_each(|node| node.messages[owner].requested = true);
            }
            Step::Grant { node, owner } => {
                let fence = Self::fence(&state, &state.nodes[node]);
                let Owner { phase, token, .. } = state.owners[owner];
                let node = &mut state.nodes[node];
                (node.lock, node.healed, node.stored) = (Some((owner_number(owner), 0)), false, fence);
                node.messages[owner].requested = false;
                if phase == Phase::Asking && (token == 0 || token == fence) {
                    node.messages[owner].answer = fence;
                }
                let may_lose = self.losses == Losses::AnyWithClock && state.forgets > 0;
                if may_lose || state.nodes.iter().any(|node| node.by_clock) {
                    state.highest = state.highest.max(fence);
                }
            }
            Step::Choose { owner } => {
                let answers = state.nodes.iter().map(|node| node.messages[owner].answer);
                let chosen = answers.fold(0, Fence::max);
                state.owners[owner].token = chosen;
                for messages in state.nodes.iter_mut().map(|node| &mut node.messages[owner]) {
                    if messages.answer != chosen {
                        messages.answer = 0;
                    }
                }
            }
            Step::Raise { node, owner } => {
                let node = &mut state.nodes[node];
                node.stored = state.owners[owner].token;
                node.messages[owner].answer = state.owners[owner].token;
            }
            Step::Hold { owner } => {
                let token = state.owners[owner].token;
                state.owners[owner].phase = Phase::Valid;
                state.fell |= token <= state.highest_token;
                state.highest_token = state.highest_token.max(token);
                state.nodes.iter_mut().for_each(|node| node.messages[owner].answer = 0);
            }
            Step::Send { owner } => {
                state.owners[owner].sent += 1;
                state.nodes.iter_mut().for_each(|node| node.messages[owner].reply = Reply::None);
            }
            Step::Extend { node, owner } => {
                let round = state.owners[owner].sent;
                let node = &mut state.nodes[node];
                let has_lock = node.lock.is_some_and(|(holder, _)| usize::from(holder) == owner);
                node.messages[owner].reply = if has_lock { Reply::Extended } else { Reply::NotYours };
                if has_lock {
                    node.lock = Some((owner_number(owner), round));
                }
            }
            Step::Count { owner } => {
                state.owners[owner].counted = state.owners[owner].sent;
                state.healed |= state
                    .nodes
                    .iter()
                    .any(|node| node.healed && node.messages[owner].reply == Reply::Extended);
            }
            Step::SendHeal { node, owner } => {
                state.nodes[node].messages[owner].heals |= 1 << state.owners[owner].counted;
            }
            Step::TakeAgain { node, owner, round } => {
                let Owner { phase, token, sent, counted } = state.owners[owner];
                let node = &mut state.nodes[node];
                let messages = &mut node.messages[owner];
                messages.heals &= !(1 << round);
                if phase == Phase::Valid && sent > counted && messages.reply == Reply::NotYours {
                    messages.reply = Reply::TakenAgain;
                }
                (node.lock, node.healed) = (Some((owner_number(owner), round)), true);
                if self.heal != Heal::WithoutRaise {
                    node.stored = node.stored.max(token);
                }
            }
            Step::End { owner } => state.end(owner),
            Step::Expire { node } => state.nodes[node].lock = None,
            Step::Forget { node } => {
                state.forgets -= 1;
                let sent =
                    |owner: &Owner| matches!(owner.phase, Phase::Asking | Phase::Valid).then_some(owner.sent);
                let delay = Some(state.owners.each_ref().map(sent));
                let node = &mut state.nodes[node];
                (node.lock, node.healed, node.stored, node.delay) = (None, false, 0, delay);
                node.by_clock = self.losses == Losses::AnyWithClock;
            }
            Step::DelayEnds { node } => state.nodes[node].delay = None,
        }
        state.normalise();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("exclusive", |_, state: &State| state.in_phase(Phase::Valid).count() < 2),
            Property::always("rising", |_, state: &State| !state.fell),
            Property::sometimes(ALL_SEEN, |_, state: &State| {
                state.healed && state.in_phase(Phase::Valid).any(|owner| owner > 0)
            }),
        ]
    }
}
