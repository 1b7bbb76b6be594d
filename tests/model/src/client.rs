//! What a client does: it asks for grants, chooses a fence, holds a fencing token, and ends an acquisition.

use crate::{
    setup::{Rule, Setup},
    state::{Fence, NODES, Owner, State, is_majority},
};

impl Setup {
    /// Whether the client has ended its last acquisition.
    pub(crate) fn has_ended(&self, state: &State, client: usize) -> bool {
        state.ended[client] == self.variant.attempts[client]
    }

    /// Whether all clients have ended their last acquisition.
    pub(crate) fn all_ended(&self, state: &State) -> bool {
        state.ended == self.variant.attempts
    }

    /// Begins an acquisition, and sends its requests to all nodes at once. A request may take any time, so
    /// sending it later would allow nothing more. `seen` is the fence that the client remembers.
    pub(crate) fn begin(&self, state: &mut State, client: usize, seen: Option<Fence>) {
        let owner = state.owner(client);
        let clock = self.start.proposals[owner];
        state.acquisitions[owner].proposal = seen.map_or(clock, |seen| clock.max(seen + 1));
        for node in &mut state.nodes {
            node.messages[owner].grant_requested = true;
        }
    }

    /// Whether the client may still forget the fence that its proposal comes from.
    pub(crate) fn can_lose_memory(&self, state: &State, owner: Owner) -> bool {
        let ungranted = state
            .nodes
            .iter()
            .all(|node| node.messages[owner].grant_requested && node.messages[owner].answer == 0);
        ungranted && state.acquisitions[owner].proposal > self.start.proposals[owner]
    }

    /// Holds the chosen fence as the fencing token, if a majority has stored it.
    pub(crate) fn hold(&self, state: &mut State, client: usize) {
        if self.has_ended(state, client) {
            return;
        }
        let owner = state.owner(client);
        let stored = state.answered(owner);
        let acquisition = &mut state.acquisitions[owner];
        let chosen = acquisition.chosen;
        if chosen > 0 && (is_majority(stored) || self.variant.rule == Rule::NoRaise) {
            acquisition.token = chosen;
            self.end(state, client);
        }
    }

    /// Ends the client's acquisition, and begins the next one.
    pub(crate) fn end(&self, state: &mut State, client: usize) {
        let owner = state.owner(client);
        for node in &mut state.nodes {
            node.messages[owner].answer = 0;
        }
        let acquisition = &mut state.acquisitions[owner];
        let seen = Some(acquisition.chosen).filter(|chosen| *chosen > 0);
        acquisition.chosen = 0;
        if acquisition.token == 0 || acquisition.token > acquisition.floor {
            acquisition.floor = 0;
        }
        state.ended[client] += 1;
        if !self.has_ended(state, client) {
            self.begin(state, client, seen);
        }
    }
}

/// Chooses the highest fence among the answers of the nodes `heard`, and sends raises if `raises`.
pub(crate) fn choose(state: &mut State, owner: Owner, heard: u8, raises: bool) {
    let fence = |at: usize| state.nodes[at].messages[owner].answer;
    let chosen = (0..NODES).filter(|at| heard & 1 << at != 0).map(fence).fold(0, Fence::max);
    state.acquisitions[owner].chosen = chosen;
    for messages in state.nodes.iter_mut().map(|node| &mut node.messages[owner]) {
        // A node that has stored the chosen fence already needs no raise.
        if messages.answer != chosen {
            messages.answer = 0;
            messages.raise_to = if raises { chosen } else { 0 };
        }
    }
}
