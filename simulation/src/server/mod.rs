//! A Redis server, small and in memory, which runs the real scripts.
//!
//! From the bottom up:
//! - [`resp`] reads commands and writes answers, [`data`] keeps keys.
//! - `lua` runs scripts, and `hashes` names them.
//! - [`commands`] has the commands.
//!
//! It has no clock: its user sets `core.data.now` before each command.

pub mod commands;
pub mod data;
mod hashes;
mod lua;
pub mod resp;

use commands::{Caller, Core, Session, invalidate, run};
use resp::{Reply, take_command};

/// A server with its connections.
#[derive(Debug, Default)]
pub struct Server {
    pub core: Core,
    /// What has arrived over each connection and is not a whole command yet.
    arrived: std::collections::BTreeMap<Session, Vec<u8>>,
}

/// What a command has led to.
#[derive(Debug)]
pub struct Handled {
    pub words: Vec<Vec<u8>>,
    pub reply: Reply,
    /// Bytes for sessions, in their order.
    pub sent: Vec<(Session, Vec<u8>)>,
}

impl Server {
    /// Takes a connection.
    pub fn connected(&mut self, session: Session) {
        self.core.sessions.insert(session, commands::Client::default());
        self.arrived.insert(session, Vec::new());
    }

    /// Forgets a connection.
    pub fn disconnected(&mut self, session: Session) {
        self.core.sessions.remove(&session);
        self.arrived.remove(&session);
    }

    /// Takes bytes of a connection.
    pub fn arrive(&mut self, session: Session, bytes: &[u8]) {
        if let Some(arrived) = self.arrived.get_mut(&session) {
            arrived.extend_from_slice(bytes);
        }
    }

    /// Handles the next command of a connection, if one has arrived whole.
    pub fn handle_next(&mut self, session: Session) -> Option<Handled> {
        let words = take_command(self.arrived.get_mut(&session)?)?;
        let reply = self.handle(session, &words);
        let sent = self.take_sent(session, &reply);
        Some(Handled { words, reply, sent })
    }

    /// Handles a command.
    pub fn handle(&mut self, session: Session, words: &[Vec<u8>]) -> Reply {
        let mut caller = Caller { session, in_script: false, has_written: false };
        run(&mut self.core, &mut caller, words)
    }

    /// Removes the keys whose time is over, and tells those who track them.
    pub fn lapse(&mut self) -> Vec<(Session, Vec<u8>)> {
        self.core.data.lapse_all();
        invalidate(&mut self.core, 0);
        self.take_sent(0, &Reply::None)
    }

    /// An answer and the messages that have come up, as bytes.
    fn take_sent(&mut self, session: Session, reply: &Reply) -> Vec<(Session, Vec<u8>)> {
        let messages = std::mem::take(&mut self.core.messages);
        let mut sent = Vec::with_capacity(messages.len() + 1);
        let mut send = |session: Session, reply: &Reply| {
            let Some(client) = self.core.sessions.get(&session) else { return };
            let mut bytes = Vec::new();
            reply.encode(client.version, &mut bytes);
            if !bytes.is_empty() {
                sent.push((session, bytes));
            }
        };
        // A session that publishes to itself is told after its answer.
        send(session, reply);
        for (session, message) in &messages {
            send(*session, message);
        }
        sent
    }
}
