//! Servers, acquisitions and the messages between them.

/// A fencing token, or what a server has stored as its last; 0 for none.
pub type Fence = u8;

pub(crate) const SERVERS: usize = 3;
pub(crate) const MAJORITY: usize = SERVERS / 2 + 1;
pub(crate) const CLIENTS: usize = 2;
/// The most acquisitions of a client.
pub(crate) const ATTEMPTS: usize = 2;
pub(crate) const OWNERS: usize = CLIENTS * ATTEMPTS;

/// An acquisition, which is known to the servers by its owner token.
pub(crate) type Owner = usize;

/// All there is at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State {
    /// Sorted.
    pub(crate) servers: [Server; SERVERS],
    pub(crate) acquisitions: [Acquisition; OWNERS],
    /// How many acquisitions each client has ended.
    pub(crate) ended: [u8; CLIENTS],
    /// The highest fence granted, if a clock has to know.
    pub(crate) highest: Fence,
    pub(crate) forgets: u8,
    pub(crate) repeats: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Server {
    /// Whose lock it is, as long as that can matter to a raise.
    pub(crate) holder: Option<Owner>,
    pub(crate) stored: Fence,
    pub(crate) mail: [Mail; OWNERS],
}

/// What is between an acquisition and a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Mail {
    /// A request for a grant is under way.
    pub(crate) asked: bool,
    /// A request to raise to this is under way.
    pub(crate) raise: Fence,
    /// What was granted here; once the client has chosen, the chosen one if it is stored here. Only while the acquisition lasts.
    pub(crate) answer: Fence,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Acquisition {
    pub(crate) proposal: Fence,
    /// Only while the acquisition lasts.
    pub(crate) chosen: Fence,
    /// What is held, or was.
    pub(crate) token: Fence,
    /// The highest token that was held before the first grant. Only while the acquisition lasts, or if it does not hold more.
    pub(crate) floor: Fence,
}

impl State {
    /// A client's acquisition, unless it has ended all.
    pub(crate) fn owner(&self, client: usize) -> Owner {
        client * ATTEMPTS + usize::from(self.ended[client])
    }

    pub(crate) fn lasts(&self, owner: Owner) -> bool {
        owner % ATTEMPTS == usize::from(self.ended[owner / ATTEMPTS])
    }

    /// The servers that have answered an acquisition, as bits.
    pub(crate) fn answered(&self, owner: Owner) -> u8 {
        let has = |at: &usize| self.servers[*at].mail[owner].answer > 0;
        (0..SERVERS).filter(has).fold(0, |servers, at| servers | 1 << at)
    }

    /// The same with each client in the other's place.
    pub(crate) fn with_clients_swapped(mut self) -> Self {
        for server in &mut self.servers {
            server.holder = server.holder.map(|owner| (owner + ATTEMPTS) % OWNERS);
            server.mail.rotate_left(ATTEMPTS);
        }
        self.servers.sort_unstable();
        self.acquisitions.rotate_left(ATTEMPTS);
        self.ended.rotate_left(1);
        self
    }

    pub(crate) fn highest_token(&self) -> Fence {
        self.acquisitions.iter().map(|acquisition| acquisition.token).fold(0, Fence::max)
    }
}

pub(crate) fn is_majority(servers: u8) -> bool {
    servers.count_ones() as usize >= MAJORITY
}
