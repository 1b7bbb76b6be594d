//! The network between the processes and the server, with the server's clock, in virtual time.
//!
//! All that is under way is an event with its time, in microseconds since the world began. Events of one time
//! happen in the order in which they were made. tokio's timers have a resolution of 1 ms: events within one
//! millisecond happen one after the other at its end.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    chance::Chance,
    history::History,
    plan::Fault,
    server::{Server, commands::Session, data::Value},
};

mod ends;
mod faults;

/// The server's clock when the world begins, in us since 1970.
const EPOCH: u64 = 1_700_000_000_000_000;
/// The time that the server takes for a command at the least, so that no two commands have one time.
const COMMAND_TAKES: u64 = 5;

/// The server's clock, as seen from the hosts, whose clocks all run at one rate.
#[derive(Clone, Copy, Default)]
struct ServerClock {
    /// How far it was ahead at `since`: it was stepped, the hosts were suspended, or it ran faster. In us.
    ahead: i64,
    since: u64,
    /// By how many parts of a million it runs faster.
    ppm: i64,
}

impl ServerClock {
    fn ahead_at(self, now: u64) -> i64 {
        let passed = i64::try_from(now.saturating_sub(self.since)).unwrap_or(i64::MAX);
        self.ahead + passed * self.ppm / 1_000_000
    }

    /// What it shows, in us since 1970, at a time of the world.
    fn at(self, now: u64) -> u64 {
        (EPOCH + now).saturating_add_signed(self.ahead_at(now))
    }

    /// The first time of the world at which it shows at least so many us since 1970.
    fn when(self, shows: u64) -> u64 {
        let missing =
            i64::try_from(shows).unwrap_or(i64::MAX) - i64::try_from(self.at(self.since)).unwrap_or(0);
        let passes = missing * 1_000_000 / (1_000_000 + self.ppm);
        let mut at = self.since.saturating_add_signed(passes);
        while self.at(at) < shows {
            at += 1;
        }
        at
    }
}

/// The network, shared by all connections.
#[derive(Clone)]
pub struct Network(Arc<Mutex<Net>>);

/// What [`Network::work`] leaves to the hosts.
#[derive(Clone, Debug, PartialEq)]
pub enum HostEvent {
    /// The plan's fault with this number concerns a host.
    Fault(usize),
    /// The process may go on.
    Resume(u32),
    /// The runtime may go on.
    ResumeLane(u64),
}

enum Event {
    /// Bytes for the server.
    Up {
        link: Session,
        bytes: Vec<u8>,
    },
    /// Bytes for the client.
    Down {
        link: Session,
        bytes: Vec<u8>,
    },
    /// The client has closed the connection.
    Closed {
        link: Session,
    },
    /// The server hears that a connection is gone.
    Forgotten {
        link: Session,
    },
    /// The client reads the end.
    Ended {
        link: Session,
        how: Ended,
    },
    /// The fault with this number begins.
    Begin(usize),
    /// A state of the server ends.
    MemoryIsFree,
    IsPrimaryAgain,
    Host(HostEvent),
}

/// How a connection has ended for its client.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    Closed,
    Reset,
}

/// A connection.
struct Link {
    process: u32,
    /// What the client can read.
    readable: VecDeque<u8>,
    reader: Option<Waker>,
    ended: Option<Ended>,
    /// Bytes that were sent later arrive later.
    last_up: u64,
    last_down: u64,
    /// Nothing arrives before these times.
    stalled_up: u64,
    stalled_down: u64,
}

/// The inside of a [`Network`].
pub struct Net {
    began: Instant,
    chance: Chance,
    pub server: Server,
    links: BTreeMap<Session, Link>,
    events: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    next_link: Session,
    /// The longest that bytes usually are under way, in us.
    latency: u64,
    faults: Vec<Fault>,
    clock: ServerClock,
    /// When the server has handled its latest command, in us since the world began.
    last_command: u64,
    /// The server handles nothing before this time.
    stopped_until: u64,
    /// The server accepts no connections before this time.
    down_until: u64,
    /// Nothing passes between the server and these processes before these times.
    partitioned: BTreeMap<u32, u64>,
    /// Bytes of these processes take so many us longer until a time.
    slow: BTreeMap<u32, (u64, u64)>,
    /// Notified when an event was added.
    changed: Arc<Notify>,
    pub history: History,
}

impl Network {
    /// The network of a world that begins now.
    #[must_use]
    pub fn new(seed: u64, latency: u64, faults: Vec<(u64, Fault)>, history: History) -> Self {
        let mut net = Net {
            began: Instant::now(),
            chance: Chance::new(seed, 1),
            server: Server::default(),
            links: BTreeMap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            next_link: 1,
            latency,
            faults: Vec::new(),
            clock: ServerClock::default(),
            last_command: 0,
            stopped_until: 0,
            down_until: 0,
            partitioned: BTreeMap::new(),
            slow: BTreeMap::new(),
            changed: Arc::default(),
            history,
        };
        net.server.core.run_id = seed << 8;
        net.server.core.started = EPOCH - 1_000_000_000;
        for (number, (at, fault)) in faults.into_iter().enumerate() {
            net.faults.push(fault);
            net.add(at, Event::Begin(number));
        }
        Self(Arc::new(Mutex::new(net)))
    }

    /// The inside, locked.
    pub fn lock(&self) -> MutexGuard<'_, Net> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles all events, as their times come, until the future is dropped.
    pub async fn work(&self, mut for_hosts: impl FnMut(HostEvent)) {
        let (changed, began) = {
            let net = self.lock();
            (Arc::clone(&net.changed), net.began)
        };
        // Set anew only if the next event has another time.
        let mut sleep = pin!(sleep_until(began));
        let mut events = Vec::new();
        loop {
            let next = {
                let mut net = self.lock();
                net.handle_due(&mut events);
                net.next_time()
            };
            events.drain(..).for_each(&mut for_hosts);
            let next = next.map(|next| began + Duration::from_micros(next));
            if let Some(next) = next
                && sleep.deadline() != next
            {
                sleep.as_mut().reset(next);
            }
            tokio::select! {
                biased;
                () = changed.notified() => {}
                () = &mut sleep, if next.is_some() => {}
            }
        }
    }
}

impl Net {
    /// The time since the world began, in us.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Steps the server's clock.
    pub fn step_clock(&mut self, by: i64) {
        self.clock.ahead += by;
        self.set_clock(self.now());
    }

    /// Lets the server's clock run by so many parts of a million faster than those of the hosts.
    fn change_rate(&mut self, now: u64, ppm: i64) {
        self.clock = ServerClock { ahead: self.clock.ahead_at(now), since: now, ppm };
    }

    /// Adds what concerns the hosts, so that it comes back from [`Network::work`].
    pub fn add_for_hosts(&mut self, at: u64, event: HostEvent) {
        self.add(at, Event::Host(event));
    }

    fn add(&mut self, at: u64, event: Event) {
        self.events.insert((at, self.next_event), event);
        self.next_event += 1;
        self.changed.notify_one();
    }

    /// When the next event happens, or a key lapses.
    fn next_time(&self) -> Option<u64> {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let lapse = self.server.core.data.next_end();
        let lapse = lapse.map(|ends| self.clock.when((ends + 1) * 1000).max(self.stopped_until));
        event.into_iter().chain(lapse).min()
    }

    fn set_clock(&mut self, now: u64) {
        self.server.core.data.now = self.clock.at(now);
    }

    /// When a key of the server ends, in us since the world began, and its value; `None` if it is free.
    #[must_use]
    pub fn lock_on_server(&self, key: &str) -> Option<(Vec<u8>, u64)> {
        let data = &self.server.core.data;
        let ends = data.ends(key.as_bytes())?;
        match data.peek(key.as_bytes()) {
            Some(Value::Text(value)) if ends * 1000 >= self.clock.at(self.now()) => {
                Some((value.clone(), self.clock.when(ends * 1000)))
            }
            _ => None,
        }
    }

    fn handle_due(&mut self, for_hosts: &mut Vec<HostEvent>) {
        let now = self.now();
        self.lapse(now);
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= now
        {
            let event = entry.remove();
            self.handle(now, event, for_hosts);
        }
        self.lapse(now);
    }

    fn lapse(&mut self, now: u64) {
        if now >= self.stopped_until {
            self.set_clock(now.max(self.last_command));
            let sent = self.server.lapse();
            self.send_down(sent);
            self.history.server_changed(now, &self.server.core.data);
        }
    }

    fn handle(&mut self, now: u64, event: Event, for_hosts: &mut Vec<HostEvent>) {
        match event {
            Event::Up { link, bytes } => {
                let stalled = self.links.get(&link).map_or(0, |link| link.stalled_up);
                let until = stalled.max(self.stopped_until).max(self.partition_of(link));
                if until > now {
                    return self.add(until, Event::Up { link, bytes });
                }
                self.server.arrive(link, &bytes);
                self.serve(now, link);
            }
            Event::Down { link, bytes } => {
                let stalled = self.links.get(&link).map_or(0, |link| link.stalled_down);
                let until = stalled.max(self.partition_of(link));
                if until > now {
                    return self.add(until, Event::Down { link, bytes });
                }
                let Some(link) = self.links.get_mut(&link) else { return };
                if link.ended.is_none() {
                    link.readable.extend(bytes);
                    link.wake();
                }
            }
            Event::Ended { link, how } => {
                let until =
                    self.partition_of(link).max(self.links.get(&link).map_or(0, |link| link.stalled_down));
                if until > now {
                    return self.add(until, Event::Ended { link, how });
                }
                if let Some(link) = self.links.get_mut(&link) {
                    link.ended.get_or_insert(how);
                    link.wake();
                }
            }
            Event::Closed { link } => {
                // What was sent before is delivered first, as TCP does.
                let stalled = self.links.get(&link).map_or(0, |link| link.stalled_up);
                let until = stalled.max(self.partition_of(link)).max(self.stopped_until);
                if until > now {
                    return self.add(until, Event::Closed { link });
                }
                self.server.disconnected(link);
                self.links.remove(&link);
            }
            Event::Forgotten { link } => self.server.disconnected(link),
            Event::Begin(number) => {
                let fault = self.faults[number].clone();
                self.history.note(now, format_args!("fault {fault:?}"));
                self.begin(now, number, &fault, for_hosts);
            }
            Event::MemoryIsFree => self.server.core.out_of_memory = false,
            Event::IsPrimaryAgain => self.server.core.read_only = false,
            Event::Host(event) => for_hosts.push(event),
        }
    }

    /// Handles the commands of a connection that have arrived.
    fn serve(&mut self, now: u64, link: Session) {
        loop {
            self.last_command = now.max(self.last_command + COMMAND_TAKES);
            self.set_clock(self.last_command);
            let before = self.history.queues(&self.server.core.data);
            let Some(handled) = self.server.handle_next(link) else { return };
            self.history.handled(now, link, &handled);
            self.history.first_is_served(now, &before, &self.server.core.data);
            for channel in std::mem::take(&mut self.server.core.unheard) {
                let channel = String::from_utf8_lossy(&channel).replace('\u{1f}', "|");
                self.history
                    .violated(now, format_args!("a hand-over was told to {channel}, where nobody hears"));
            }
            self.history.server_changed(now, &self.server.core.data);
            self.send_down(handled.sent);
        }
    }

    fn partition_of(&self, link: Session) -> u64 {
        let process = self.links.get(&link).map(|link| link.process);
        process.and_then(|process| self.partitioned.get(&process)).copied().unwrap_or(0)
    }

    /// How long bytes of this process are under way now.
    fn delay(&mut self, process: u32) -> u64 {
        let now = self.now();
        let more = self.slow.get(&process).filter(|(until, _)| *until > now).map_or(0, |(_, more)| *more);
        self.chance.below(self.latency + 1) + self.chance.below(more + 1)
    }

    fn send_down(&mut self, sent: Vec<(Session, Vec<u8>)>) {
        for (session, bytes) in sent {
            let Some(process) = self.links.get(&session).map(|link| link.process) else { continue };
            let at = self.now() + self.delay(process);
            let Some(link) = self.links.get_mut(&session) else { continue };
            link.last_down = at.max(link.last_down);
            let at = link.last_down;
            self.add(at, Event::Down { link: session, bytes });
        }
    }
}

impl Link {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
