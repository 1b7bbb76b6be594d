//! The steps of servers and clients.

use stateright::{Model, Property};

use crate::{
    setup::{Clock, Rule, Setup},
    state::{
        ATTEMPTS, Acquisition, CLIENTS, Fence, Mail, OWNERS, Owner, SERVERS, Server, State, is_majority,
    },
};

/// What can happen. Servers are numbered as they are sorted at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A server grants its lock, which is free or whose lease has just lapsed.
    Grant {
        /// Which server.
        server: usize,
        /// To whom.
        owner: usize,
        /// Whether the request is to arrive once more.
        again: bool,
        /// Whether its answer gets lost.
        unheard: bool,
    },
    /// A client has heard these servers, as bits, and chooses the highest fence they granted.
    Choose {
        /// For which acquisition.
        owner: usize,
        /// Whom it has heard.
        heard: u8,
    },
    /// A server stores the chosen fence.
    Raise {
        /// Which server.
        server: usize,
        /// Whose.
        owner: usize,
    },
    /// A client gives up, or crashes, and begins its next acquisition.
    GiveUp {
        /// Which client.
        client: usize,
    },
    /// A client has crashed before this acquisition, and does not remember what fence it has seen.
    LoseMemory {
        /// Which client.
        client: usize,
    },
    /// A server loses all its data.
    Forget {
        /// Which server.
        server: usize,
    },
}

pub(crate) const ALL_HELD: &str = "all held";

impl Model for Setup {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let server = |stored| Server { holder: None, stored, mail: [Mail::default(); OWNERS] };
        let mut state = State {
            servers: self.start.counters.map(server),
            acquisitions: [Acquisition::default(); OWNERS],
            ended: [0; CLIENTS],
            highest: 0,
            forgets: self.variant.forgets,
            repeats: self.variant.repeats,
        };
        for fence in self.start.counters {
            self.note(&mut state, fence);
        }
        for client in 0..CLIENTS {
            self.begin(&mut state, client, None);
        }
        self.tidy(&mut state);
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if self.all_ended(state) {
            return;
        }
        for (at, server) in state.servers.iter().enumerate() {
            for (owner, mail) in server.mail.iter().enumerate() {
                if mail.asked {
                    Self::grants(state, at, owner, steps);
                }
                if mail.raise > 0 && self.accepts(server, owner) {
                    steps.push(Step::Raise { server: at, owner });
                }
            }
            if state.forgets > 0 && server.stored > 0 {
                steps.push(Step::Forget { server: at });
            }
        }
        for client in (0..CLIENTS).filter(|client| !self.has_ended(state, *client)) {
            let owner = state.owner(client);
            if state.acquisitions[owner].chosen == 0 {
                let answered = state.answered(owner);
                let heard = (0..1 << SERVERS).filter(|heard| heard & !answered == 0 && is_majority(*heard));
                steps.extend(heard.map(|heard| Step::Choose { owner, heard }));
            }
            if self.can_lose_memory(state, owner) {
                steps.push(Step::LoseMemory { client });
            }
            // To give up the last one is to take no more steps.
            if state.ended[client] + 1 < self.variant.attempts[client] {
                steps.push(Step::GiveUp { client });
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = *last;
        match step {
            Step::Grant { server, owner, again, unheard } => {
                if again {
                    state.repeats -= 1;
                } else {
                    state.servers[server].mail[owner].asked = false;
                }
                self.grant(&mut state, server, owner, unheard);
            }
            Step::Choose { owner, heard } => {
                choose(&mut state, owner, heard, self.variant.rule != Rule::NoRaise);
            }
            Step::Raise { server, owner } => {
                let lasts = state.lasts(owner);
                let server = &mut state.servers[server];
                let mail = &mut server.mail[owner];
                // More is stored only where that is accepted.
                server.stored = server.stored.max(mail.raise);
                if lasts {
                    mail.answer = mail.raise;
                }
                mail.raise = 0;
            }
            Step::GiveUp { client } => self.end(&mut state, client),
            Step::LoseMemory { client } => {
                let owner = state.owner(client);
                state.acquisitions[owner].proposal = self.start.proposals[owner];
            }
            Step::Forget { server } => {
                state.forgets -= 1;
                state.servers[server].holder = None;
                state.servers[server].stored = 0;
            }
        }
        for client in 0..CLIENTS {
            self.hold(&mut state, client);
        }
        self.tidy(&mut state);
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

/// Servers.
impl Setup {
    fn grants(state: &State, server: usize, owner: Owner, steps: &mut Vec<Step>) {
        let answered = state.servers[server].mail[owner].answer > 0;
        for again in [false, true] {
            // An answer that is not the only one may be lost while the other arrives.
            for unheard in [false, true] {
                if (!again || state.repeats > 0) && (!unheard || answered) {
                    steps.push(Step::Grant { server, owner, again, unheard });
                }
            }
        }
    }

    fn grant(&self, state: &mut State, at: usize, owner: Owner, unheard: bool) {
        let first = state.answered(owner) == 0;
        let chosen = state.acquisitions[owner].chosen;
        let fence = self.fence(state, at, owner);
        self.note(state, fence);
        let server = &mut state.servers[at];
        server.holder = Some(owner);
        server.stored = fence;
        if state.lasts(owner) && !unheard {
            if first {
                state.acquisitions[owner].floor = state.highest_token();
            }
            if chosen == 0 || chosen == fence {
                state.servers[at].mail[owner].answer = fence;
            }
        }
    }

    fn fence(&self, state: &State, at: usize, owner: Owner) -> Fence {
        let stored = state.servers[at].stored;
        let clock = match self.variant.clock {
            // Whose counter is not lost may have any clock: the hardest case is one that is far behind.
            _ if stored > 0 => 0,
            Clock::Absent => 0,
            Clock::Right => state.highest + 1,
            Clock::SteppedBack => state.highest,
            Clock::AboveTokens => state.highest_token() + 1,
        };
        (stored + 1).max(state.acquisitions[owner].proposal).max(clock)
    }

    fn accepts(&self, server: &Server, owner: Owner) -> bool {
        let (ours, low) = (server.holder == Some(owner), server.stored <= server.mail[owner].raise);
        let rule = self.variant.rule;
        (ours || !rule.asks_for_lock()) && (low || !rule.asks_for_low_fence())
    }

    /// Whether no raise can be accepted any more, so that one under way changes nothing.
    fn refuses(&self, server: &Server, owner: Owner, forgets: u8) -> bool {
        let mail = server.mail[owner];
        // A late grant may yet give us the lock, and a server that forgets may store less.
        let lost = server.holder != Some(owner) && !mail.asked;
        let passed = server.stored > mail.raise && forgets == 0;
        let rule = self.variant.rule;
        (lost && rule.asks_for_lock()) || (passed && rule.asks_for_low_fence())
    }

    fn note(&self, state: &mut State, fence: Fence) {
        if self.variant.forgets > 0 && matches!(self.variant.clock, Clock::Right | Clock::SteppedBack) {
            state.highest = state.highest.max(fence);
        }
    }

    /// Drops what can change nothing any more, so that states that differ in nothing else are one.
    fn tidy(&self, state: &mut State) {
        let choosing: [bool; OWNERS] =
            std::array::from_fn(|owner| state.lasts(owner) && state.acquisitions[owner].chosen == 0);
        for server in &mut state.servers {
            for owner in 0..OWNERS {
                if self.refuses(server, owner, state.forgets) {
                    server.mail[owner].raise = 0;
                }
            }
            server.holder = server.holder.filter(|owner| server.mail[*owner].raise > 0 || choosing[*owner]);
        }
        for owner in 0..OWNERS {
            // No server will follow it any more.
            let proposal = &mut state.acquisitions[owner].proposal;
            let follows = |server: &Server| server.mail[owner].asked && server.stored + 1 < *proposal;
            if state.forgets == 0 && !state.servers.iter().any(follows) {
                *proposal = 0;
            }
        }
        state.servers.sort_unstable();
        if self.clients_are_alike() {
            *state = (*state).min(state.with_clients_swapped());
        }
    }

    fn clients_are_alike(&self) -> bool {
        let (proposals, attempts) = (self.start.proposals.split_at(ATTEMPTS), self.variant.attempts);
        proposals.0 == proposals.1 && attempts[0] == attempts[1]
    }
}

/// Clients.
impl Setup {
    fn has_ended(&self, state: &State, client: usize) -> bool {
        state.ended[client] == self.variant.attempts[client]
    }

    fn all_ended(&self, state: &State) -> bool {
        state.ended == self.variant.attempts
    }

    /// Asks all servers; the requests may take any time, so that this is as good as any later moment.
    fn begin(&self, state: &mut State, client: usize, seen: Option<Fence>) {
        let owner = state.owner(client);
        let clock = self.start.proposals[owner];
        state.acquisitions[owner].proposal = seen.map_or(clock, |seen| clock.max(seen + 1));
        for server in &mut state.servers {
            server.mail[owner].asked = true;
        }
    }

    fn can_lose_memory(&self, state: &State, owner: Owner) -> bool {
        let ungranted =
            state.servers.iter().all(|server| server.mail[owner].asked && server.mail[owner].answer == 0);
        ungranted && state.acquisitions[owner].proposal > self.start.proposals[owner]
    }

    fn hold(&self, state: &mut State, client: usize) {
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

    /// Ends an acquisition, and begins the client's next.
    fn end(&self, state: &mut State, client: usize) {
        let owner = state.owner(client);
        for server in &mut state.servers {
            server.mail[owner].answer = 0;
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

fn choose(state: &mut State, owner: Owner, heard: u8, raises: bool) {
    let fence = |at: usize| state.servers[at].mail[owner].answer;
    let chosen = (0..SERVERS).filter(|at| heard & 1 << at != 0).map(fence).fold(0, Fence::max);
    state.acquisitions[owner].chosen = chosen;
    for mail in state.servers.iter_mut().map(|server| &mut server.mail[owner]) {
        // Where the fence is stored already, nothing is left to raise.
        if mail.answer != chosen {
            mail.answer = 0;
            mail.raise = if raises { chosen } else { 0 };
        }
    }
}
