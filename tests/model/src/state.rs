//! The state of the model: nodes, acquisitions, and the messages between them.

/// A fencing token, or the fence that a node has stored. 0 means none.
pub type Fence = u8;

pub(crate) const NODES: usize = 3;
pub(crate) const MAJORITY: usize = NODES / 2 + 1;
pub(crate) const CLIENTS: usize = 2;
/// The highest number of acquisitions that a client makes.
pub(crate) const ATTEMPTS: usize = 2;
pub(crate) const OWNERS: usize = CLIENTS * ATTEMPTS;

/// The number of an acquisition. It stands for the owner token by which nodes know the acquisition.
pub(crate) type Owner = usize;

/// One state of all nodes and clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State {
    /// The nodes, sorted, because their order does not matter.
    pub(crate) nodes: [Node; NODES],
    pub(crate) acquisitions: [Acquisition; OWNERS],
    /// How many acquisitions each client has ended.
    pub(crate) ended: [u8; CLIENTS],
    /// The highest fence granted so far. Only kept if the variant's clock depends on it.
    pub(crate) highest: Fence,
    /// How many more times a node may forget everything.
    pub(crate) forgets: u8,
    /// How many more requests for a grant may arrive twice.
    pub(crate) repeats: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Node {
    /// The acquisition that has the node's lock. `None` as well if the holder cannot matter to any raise.
    pub(crate) holder: Option<Owner>,
    /// The fence that the node has stored.
    pub(crate) stored: Fence,
    pub(crate) messages: [Messages; OWNERS],
}

/// The messages between one acquisition and one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Messages {
    /// Whether a request for a grant is under way.
    pub(crate) grant_requested: bool,
    /// The fence of a raise that is under way. 0 if there is none.
    pub(crate) raise_to: Fence,
    /// The fence that the node granted. Once the client has chosen, the chosen fence if the node has stored
    /// it, else 0. Reset when the acquisition ends.
    pub(crate) answer: Fence,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Acquisition {
    /// The proposal of the requests. Reset when no node can follow it any more.
    pub(crate) proposal: Fence,
    /// The fence that the client has chosen. Reset when the acquisition ends.
    pub(crate) chosen: Fence,
    /// The fencing token that the acquisition holds or has held.
    pub(crate) token: Fence,
    /// The highest fencing token that was held before the first grant. Reset when the acquisition ends
    /// without a token or with a higher one, so that it stays only if the claim is refuted.
    pub(crate) floor: Fence,
}

impl State {
    /// Returns a client's current acquisition. The client must not have ended its last one.
    pub(crate) fn owner(&self, client: usize) -> Owner {
        client * ATTEMPTS + usize::from(self.ended[client])
    }

    /// Whether the acquisition is the current one of its client.
    pub(crate) fn is_ongoing(&self, owner: Owner) -> bool {
        owner % ATTEMPTS == usize::from(self.ended[owner / ATTEMPTS])
    }

    /// Returns the nodes that have answered an acquisition, one bit for each.
    pub(crate) fn answered(&self, owner: Owner) -> u8 {
        let has = |at: &usize| self.nodes[*at].messages[owner].answer > 0;
        (0..NODES).filter(has).fold(0, |nodes, at| nodes | 1 << at)
    }

    /// Returns the state with the two clients exchanged.
    pub(crate) fn with_clients_swapped(mut self) -> Self {
        for node in &mut self.nodes {
            node.holder = node.holder.map(|owner| (owner + ATTEMPTS) % OWNERS);
            node.messages.rotate_left(ATTEMPTS);
        }
        self.nodes.sort_unstable();
        self.acquisitions.rotate_left(ATTEMPTS);
        self.ended.rotate_left(1);
        self
    }

    /// Returns the highest fencing token that is or was held.
    pub(crate) fn highest_token(&self) -> Fence {
        self.acquisitions.iter().map(|acquisition| acquisition.token).fold(0, Fence::max)
    }
}

pub(crate) fn is_majority(nodes: u8) -> bool {
    nodes.count_ones() as usize >= MAJORITY
}
