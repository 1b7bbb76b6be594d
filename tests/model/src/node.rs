//! What a node does: it grants its lock, stores fences, and accepts or refuses raises.

use crate::{
    protocol::Step,
    setup::{Clock, Setup},
    state::{Fence, Node, Owner, State},
};

impl Setup {
    /// Adds the ways in which a node can grant the request of an owner.
    pub(crate) fn grants(state: &State, node: usize, owner: Owner, steps: &mut Vec<Step>) {
        let answered = state.nodes[node].messages[owner].answer > 0;
        for arrives_again in [false, true] {
            // A second answer may be lost although the first has arrived. The loss of the only answer needs
            // no step.
            for answer_lost in [false, true] {
                if (!arrives_again || state.repeats > 0) && (!answer_lost || answered) {
                    steps.push(Step::Grant { node, owner, arrives_again, answer_lost });
                }
            }
        }
    }

    /// Grants the node's lock to an owner. Takes it from the acquisition that has it.
    pub(crate) fn grant(&self, state: &mut State, at: usize, owner: Owner, answer_lost: bool) {
        let first = state.answered(owner) == 0;
        let chosen = state.acquisitions[owner].chosen;
        let fence = self.fence(state, at, owner);
        self.note_granted(state, fence);
        let node = &mut state.nodes[at];
        node.holder = Some(owner);
        node.stored = fence;
        if state.is_ongoing(owner) && !answer_lost {
            if first {
                state.acquisitions[owner].floor = state.highest_token();
            }
            if chosen == 0 || chosen == fence {
                state.nodes[at].messages[owner].answer = fence;
            }
        }
    }

    /// The fence that a node grants.
    fn fence(&self, state: &State, at: usize, owner: Owner) -> Fence {
        let stored = state.nodes[at].stored;
        let clock = match self.variant.clock {
            // A node that has its counter may have any clock. The hardest case is a clock that is far behind.
            _ if stored > 0 => 0,
            Clock::Absent => 0,
            Clock::Right => state.highest + 1,
            Clock::SteppedBack => state.highest,
            Clock::AboveTokens => state.highest_token() + 1,
        };
        (stored + 1).max(state.acquisitions[owner].proposal).max(clock)
    }

    /// Whether the node accepts the raise that is under way.
    pub(crate) fn accepts_raise(&self, node: &Node, owner: Owner) -> bool {
        let has_lock = node.holder == Some(owner);
        let is_low = node.stored <= node.messages[owner].raise_to;
        let rule = self.variant.rule;
        (has_lock || !rule.raise_needs_lock()) && (is_low || !rule.raise_needs_low_fence())
    }

    /// Whether the node can never accept a raise of this owner again, so that a raise under way has no
    /// effect.
    pub(crate) fn refuses_raise(&self, node: &Node, owner: Owner, forgets: u8) -> bool {
        let messages = node.messages[owner];
        // A late grant may still give the owner the lock, and a node that forgets may store a lower fence.
        let lost = node.holder != Some(owner) && !messages.grant_requested;
        let passed = node.stored > messages.raise_to && forgets == 0;
        let rule = self.variant.rule;
        (lost && rule.raise_needs_lock()) || (passed && rule.raise_needs_low_fence())
    }

    /// Records a fence that was granted, if the variant's clock depends on it.
    pub(crate) fn note_granted(&self, state: &mut State, fence: Fence) {
        if self.variant.forgets > 0 && matches!(self.variant.clock, Clock::Right | Clock::SteppedBack) {
            state.highest = state.highest.max(fence);
        }
    }
}
