//! How faults of the network and of the server begin.

use super::{Ended, Event, HostEvent, Net};
use crate::{plan::Fault, server::commands::Session};

impl Net {
    pub(super) fn begin(&mut self, now: u64, number: usize, fault: &Fault, for_hosts: &mut Vec<HostEvent>) {
        match *fault {
            Fault::Slow { process, lasts, by } => _ = self.slow.insert(process, (now + lasts, by)),
            Fault::Cut { process, server_hears_after } => {
                for link in self.links_of(process) {
                    self.cut(now, link, server_hears_after);
                }
            }
            Fault::HalfClose { process } => {
                for link in self.links_of(process) {
                    self.server.disconnected(link);
                    self.add(now, Event::Ended { link, how: Ended::Closed });
                }
            }
            Fault::Stall { process, up, down, lasts } => {
                for link in self.links_of(process) {
                    let Some(link) = self.links.get_mut(&link) else { continue };
                    link.stalled_up = if up { now + lasts } else { 0 }.max(link.stalled_up);
                    link.stalled_down = if down { now + lasts } else { 0 }.max(link.stalled_down);
                }
            }
            Fault::Partition { process, lasts } => {
                let until = self.partitioned.entry(process).or_default();
                *until = (now + lasts).max(*until);
            }
            Fault::ServerStops { lasts } => self.stopped_until = (now + lasts).max(self.stopped_until),
            Fault::Restart { down, keeps_data } => self.restart(now, down, keeps_data),
            Fault::ScriptFlush => self.server.core.scripts.clear(),
            Fault::OutOfMemory { lasts } => {
                self.server.core.out_of_memory = true;
                self.add(now + lasts, Event::MemoryIsFree);
            }
            Fault::ReadOnly { lasts } => {
                self.server.core.read_only = true;
                self.add(now + lasts, Event::IsPrimaryAgain);
            }
            Fault::ClockStep { by } => {
                self.step_clock(by);
                self.history.clock_stepped(now, by);
            }
            Fault::ClockRate { ppm } => self.change_rate(now, ppm),
            _ => for_hosts.push(HostEvent::Fault(number)),
        }
    }

    /// Closes the connections of a process that has crashed, as its kernel does.
    pub fn crash(&mut self, process: u32) {
        for link in self.links_of(process) {
            self.close(link);
        }
    }

    fn links_of(&self, process: u32) -> Vec<Session> {
        self.links.iter().filter(|(_, link)| link.process == process).map(|(link, _)| *link).collect()
    }

    /// Resets a connection. What is under way may be lost or not.
    fn cut(&mut self, now: u64, link: Session, server_hears_after: u64) {
        let (lose_up, lose_down) = (self.chance.one_in(2), self.chance.one_in(2));
        self.events.retain(|_, event| match event {
            Event::Up { link: of, .. } => *of != link || !lose_up,
            Event::Down { link: of, .. } => *of != link || !lose_down,
            _ => true,
        });
        self.add(now, Event::Ended { link, how: Ended::Reset });
        self.add(now + server_hears_after, Event::Forgotten { link });
    }

    fn restart(&mut self, now: u64, down: u64, keeps_data: bool) {
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            self.server.disconnected(link);
            self.add(now, Event::Ended { link, how: Ended::Reset });
        }
        self.events.retain(|_, event| !matches!(event, Event::Up { .. } | Event::Down { .. }));
        self.down_until = now + down;
        let core = &mut self.server.core;
        core.run_id += 1;
        core.started = core.data.now + down;
        core.scripts.clear();
        if !keeps_data {
            core.data.clear();
            self.history.data_lost(now);
        }
    }
}
