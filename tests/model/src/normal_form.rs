//! Brings states that differ in nothing that matters to one form, so that the checker visits them once.

use crate::{
    setup::Setup,
    state::{ATTEMPTS, Node, OWNERS, State},
};

impl Setup {
    /// Clears what has no effect on any later step, and sorts what may be exchanged.
    pub(crate) fn normalise(&self, state: &mut State) {
        let choosing: [bool; OWNERS] =
            std::array::from_fn(|owner| state.is_ongoing(owner) && state.acquisitions[owner].chosen == 0);
        for node in &mut state.nodes {
            for owner in 0..OWNERS {
                if self.refuses_raise(node, owner, state.forgets) {
                    node.messages[owner].raise_to = 0;
                }
            }
            node.holder = node.holder.filter(|owner| node.messages[*owner].raise_to > 0 || choosing[*owner]);
        }
        for owner in 0..OWNERS {
            // A proposal that no node can follow any more has no effect.
            let proposal = &mut state.acquisitions[owner].proposal;
            let follows = |node: &Node| node.messages[owner].grant_requested && node.stored + 1 < *proposal;
            if state.forgets == 0 && !state.nodes.iter().any(follows) {
                *proposal = 0;
            }
        }
        state.nodes.sort_unstable();
        if self.clients_are_alike() {
            *state = (*state).min(state.with_clients_swapped());
        }
    }

    /// Whether the clients may be exchanged, because their clocks and numbers of acquisitions are equal.
    fn clients_are_alike(&self) -> bool {
        let (proposals, attempts) = (self.start.proposals.split_at(ATTEMPTS), self.variant.attempts);
        proposals.0 == proposals.1 && attempts[0] == attempts[1]
    }
}
