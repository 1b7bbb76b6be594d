//! The client's end of a connection.

use std::{collections::VecDeque, io, task::Waker, time::Duration};

use super::{Ended, Event, Link, Net};
use crate::server::commands::Session;

impl Net {
    /// The longest that making a connection is under way now: `None` while nothing passes.
    pub fn connecting_takes(&mut self, process: u32) -> Option<Duration> {
        let now = self.now();
        if self.partitioned.get(&process).is_some_and(|until| *until > now) {
            return None;
        }
        let takes = self.delay(process) + self.delay(process);
        Some(Duration::from_micros(takes))
    }

    /// Makes a connection.
    ///
    /// # Errors
    /// If the server is down.
    pub fn connect(&mut self, process: u32) -> io::Result<Session> {
        let now = self.now();
        if now < self.down_until {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let session = self.next_link;
        self.next_link += 1;
        self.server.connected(session);
        let link = Link {
            process,
            readable: VecDeque::new(),
            reader: None,
            ended: None,
            last_up: now,
            last_down: now,
            stalled_up: 0,
            stalled_down: 0,
        };
        self.links.insert(session, link);
        Ok(session)
    }

    /// Sends bytes to the server.
    ///
    /// # Errors
    /// If the connection was reset.
    pub fn send(&mut self, session: Session, bytes: &[u8]) -> io::Result<usize> {
        let Some(process) = self.links.get(&session).map(|link| link.process) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let at = self.now() + self.delay(process);
        let Some(link) = self.links.get_mut(&session).filter(|link| link.ended != Some(Ended::Reset)) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        link.last_up = at.max(link.last_up);
        let at = link.last_up;
        self.add(at, Event::Up { link: session, bytes: bytes.to_vec() });
        Ok(bytes.len())
    }

    /// Reads what has arrived: `Ok(0)` at the end; `None` if nothing has arrived, so that the waker is called
    /// when that changes.
    pub fn receive(&mut self, session: Session, most: usize, waker: &Waker) -> Option<io::Result<Vec<u8>>> {
        let Some(link) = self.links.get_mut(&session) else { return Some(Ok(Vec::new())) };
        if !link.readable.is_empty() {
            let length = most.min(link.readable.len());
            return Some(Ok(link.readable.drain(..length).collect()));
        }
        match link.ended {
            Some(Ended::Closed) => Some(Ok(Vec::new())),
            Some(Ended::Reset) => Some(Err(io::ErrorKind::ConnectionReset.into())),
            None => {
                link.reader = Some(waker.clone());
                None
            }
        }
    }

    /// Closes a connection from the client's side.
    pub fn close(&mut self, session: Session) {
        let Some(link) = self.links.get(&session) else { return };
        let at = link.last_up.max(self.now());
        self.add(at, Event::Closed { link: session });
    }
}
