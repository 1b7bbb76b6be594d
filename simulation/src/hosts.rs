//! The hosts: their processes and lanes, which run, stand still, or are gone.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use distlock_core::simulation::{Connecting, Stream, World};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    chance::Chance,
    network::{HostEvent, Network},
    plan::{Fault, Plan},
    server::commands::Session,
};

/// The lane of the referee, which is no process of distlock.
pub const REFEREE: u64 = 0;

/// The process that may be the child of a fork of the first one.
pub const FORKED: u32 = 2;

/// The hosts of a world.
pub struct Hosts {
    network: Network,
    lane: Cell<u64>,
    forks: bool,
    state: RefCell<State>,
}

struct State {
    chance: Chance,
    /// The lane with number n is at n - 1.
    lanes: Vec<Lane>,
    /// The process with number n is at n - 1.
    processes: Vec<Process>,
    /// A poll in so many is put off, so that tasks run in another order; 0 for none.
    puts_off: u64,
    /// For how long the hosts have been suspended.
    suspended: Duration,
}

struct Lane {
    process: u32,
    /// The runtime stands still until this time (us).
    stopped_until: u64,
    waiting: Vec<Waker>,
}

#[derive(Default)]
struct Process {
    polls: u64,
    /// The process stops at the poll with this number, for so many us.
    stops: Vec<(u64, u64)>,
    stopped_until: u64,
    /// It was killed.
    is_gone: bool,
}

impl Hosts {
    /// The hosts of a schedule.
    ///
    /// # Panics
    /// With billions of processes.
    #[must_use]
    pub fn new(plan: &Plan, network: Network) -> Self {
        let process_of = |(at, lanes): (usize, &u32)| {
            let process = u32::try_from(at + 1).expect("few processes");
            (0..*lanes).map(move |_| Lane { process, stopped_until: 0, waiting: Vec::new() })
        };
        let state = State {
            chance: Chance::new(plan.seed, 2),
            lanes: plan.lanes.iter().enumerate().flat_map(process_of).collect(),
            processes: plan.lanes.iter().map(|_| Process::default()).collect(),
            puts_off: plan.puts_off,
            suspended: Duration::ZERO,
        };
        Self { network, lane: Cell::new(REFEREE), forks: plan.forks, state: RefCell::new(state) }
    }

    /// The lanes of a process.
    #[must_use]
    pub fn lanes_of(&self, process: u32) -> Vec<u64> {
        let state = self.state.borrow();
        let of_process = |(_, lane): &(u64, &Lane)| lane.process == process;
        (1..).zip(&state.lanes).filter(of_process).map(|(number, _)| number).collect()
    }

    /// Lets the process stop at its poll with this number.
    pub fn plan_stop(&self, process: u32, at_poll: u64, lasts: u64) {
        self.state.borrow_mut().process(process).stops.push((at_poll, lasts));
    }

    /// Begins a fault of the hosts.
    pub fn begin(&self, fault: &Fault) {
        let now = self.network.lock().now();
        match *fault {
            Fault::ProcessStops { process, lasts } => self.stop(process, now, lasts),
            Fault::LaneStops { process, lasts } => {
                let Some(lane) = self.lanes_of(process).last().copied() else { return };
                self.state.borrow_mut().lane(lane).stopped_until = now + lasts;
                let mut net = self.network.lock();
                net.history.stands_still(process, now, lasts);
                net.add_for_hosts(now + lasts, HostEvent::ResumeLane(lane));
            }
            Fault::Suspend { lasts } => {
                self.state.borrow_mut().suspended += Duration::from_micros(lasts);
                let mut net = self.network.lock();
                net.step_clock(i64::try_from(lasts).unwrap_or(i64::MAX));
                net.history.suspended(lasts);
            }
            Fault::Kill { process, with_host } => {
                self.state.borrow_mut().process(process).is_gone = true;
                let mut net = self.network.lock();
                if !with_host {
                    net.crash(process);
                }
                net.history.killed(now, process);
            }
            _ => {}
        }
    }

    fn stop(&self, process: u32, now: u64, lasts: u64) {
        self.state.borrow_mut().process(process).stopped_until = now + lasts;
        let mut net = self.network.lock();
        net.history.stands_still(process, now, lasts);
        net.add_for_hosts(now + lasts, HostEvent::Resume(process));
    }

    /// Wakes what has waited for its process or lane.
    pub fn resume(&self, event: &HostEvent) {
        let mut wakers = Vec::new();
        for (number, lane) in (1..).zip(&mut self.state.borrow_mut().lanes) {
            if *event == HostEvent::Resume(lane.process) || *event == HostEvent::ResumeLane(number) {
                wakers.append(&mut lane.waiting);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn lane(&mut self, lane: u64) -> &mut Lane {
        &mut self.lanes[usize::try_from(lane - 1).expect("few lanes")]
    }

    fn process(&mut self, process: u32) -> &mut Process {
        &mut self.processes[process as usize - 1]
    }
}

impl World for Hosts {
    fn fill_random(&self, bytes: &mut [u8]) {
        self.state.borrow_mut().chance.fill(bytes);
    }

    fn fraction(&self) -> f64 {
        self.state.borrow_mut().chance.fraction()
    }

    fn process_id(&self) -> u32 {
        match self.lane.get() {
            REFEREE => 0,
            lane => self.state.borrow_mut().lane(lane).process,
        }
    }

    fn parent(&self) -> Option<u32> {
        (self.forks && self.process_id() == FORKED).then_some(1)
    }

    fn suspended(&self) -> Duration {
        self.state.borrow().suspended
    }

    fn wall_clock(&self) -> u64 {
        1_700_000_000_000_000 + self.network.lock().now()
    }

    fn lane(&self) -> u64 {
        self.lane.get()
    }

    fn enter(&self, lane: u64, waker: &Waker) -> Option<u64> {
        if lane != REFEREE {
            let now = self.network.lock().now();
            let mut state = self.state.borrow_mut();
            let puts_off = state.puts_off;
            let is_put_off = puts_off > 0 && state.chance.one_in(puts_off);
            let process = state.lane(lane).process;
            let lane_runs = state.lane(lane).stopped_until <= now;
            let of_lane = state.process(process);
            of_lane.polls += 1;
            let polls = of_lane.polls;
            let stop = of_lane.stops.iter().find(|(at, _)| *at == polls).map(|(_, lasts)| *lasts);
            let runs = lane_runs && of_lane.stopped_until <= now && !of_lane.is_gone;
            if !runs || stop.is_some() {
                state.lane(lane).waiting.push(waker.clone());
                drop(state);
                if let Some(lasts) = stop.filter(|_| runs) {
                    self.stop(process, now, lasts);
                } else if stop.is_some() {
                    // It stands still already.
                }
                return None;
            }
            if is_put_off {
                waker.wake_by_ref();
                return None;
            }
        }
        Some(self.lane.replace(lane))
    }

    fn enter_to_drop(&self, lane: u64) -> u64 {
        self.lane.replace(lane)
    }

    fn leave(&self, before: u64) {
        self.lane.set(before);
    }

    fn stream_to(&self, _address: &str) -> Connecting {
        let (network, process) = (self.network.clone(), self.process_id());
        Box::pin(async move {
            let Some(takes) = network.lock().connecting_takes(process) else {
                return std::future::pending().await;
            };
            tokio::time::sleep(takes).await;
            let session = network.lock().connect(process)?;
            Ok(Box::new(Socket { network, session }) as Box<dyn Stream>)
        })
    }
}

/// A client's end of a connection.
struct Socket {
    network: Network,
    session: Session,
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let received = self.network.lock().receive(self.session, buffer.remaining(), context.waker());
        match received {
            Some(bytes) => Poll::Ready(bytes.map(|bytes| buffer.put_slice(&bytes))),
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.network.lock().send(self.session, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.network.lock().close(self.session);
    }
}
