//! A schedule: what the processes do, and what goes wrong. All of it is drawn from a seed.
//!
//! A new fault gets a variant of [`Fault`], a place in [`Fault::draw`], and what it does in `Net::begin` (the
//! network and the server) or `Hosts::begin` (processes).

use crate::chance::Chance;

/// What goes wrong. All durations are in us.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Bytes of a process take up to `by` longer.
    Slow { process: u32, lasts: u64, by: u64 },
    /// The connections of a process are reset. The server hears of it later.
    Cut { process: u32, server_hears_after: u64 },
    /// The server closes the connections of a process, and what the client still sends is lost.
    HalfClose { process: u32 },
    /// Nothing arrives over the connections of a process, one way or both. New connections work.
    Stall { process: u32, up: bool, down: bool, lasts: u64 },
    /// Nothing passes between a process and the server.
    Partition { process: u32, lasts: u64 },
    /// The server stands still.
    ServerStops { lasts: u64 },
    /// The server is started anew, and is down for a while.
    Restart { down: u64, keeps_data: bool },
    /// The server forgets its scripts.
    ScriptFlush,
    /// The server's memory is full.
    OutOfMemory { lasts: u64 },
    /// The server refuses writes, as a replica does.
    ReadOnly { lasts: u64 },
    /// The server's clock is stepped.
    ClockStep { by: i64 },
    /// A process stands still.
    ProcessStops { process: u32, lasts: u64 },
    /// One runtime of a process stands still.
    LaneStops { process: u32, lasts: u64 },
    /// All processes are on one host, which is suspended. Their clocks stand still, the server's does not.
    Suspend { lasts: u64 },
    /// The server's clock runs faster than those of the hosts, by so many parts of a million, or slower.
    ClockRate { ppm: i64 },
    /// A process is gone: its connections are closed, unless its host is gone, too.
    Kill { process: u32, with_host: bool },
}

/// The part of a ttl by which distlock allows clocks to differ, in parts of a million: exclusion has to hold.
const DRIFT_PPM: i64 = 10_000;

const MS: u64 = 1000;
const SECOND: u64 = 1_000_000;

impl Fault {
    /// Draws a fault for one of so many processes.
    fn draw(chance: &mut Chance, processes: u32) -> Self {
        let process = u32::try_from(chance.between(1, processes.into())).expect("few processes");
        let lasts = match chance.below(3) {
            0 => chance.between(5, 200) * MS,
            1 => chance.between(200, 2500) * MS,
            _ => chance.between(2500, 6000) * MS,
        };
        match chance.below(43) {
            0..=2 => Self::Slow { process, lasts, by: chance.pick(&[20, 200, 900, 1500]) * MS },
            3..=7 => Self::Cut { process, server_hears_after: chance.pick(&[0, 0, 50, 3000]) * MS },
            8..=9 => Self::HalfClose { process },
            10..=13 => {
                let way = chance.below(3);
                Self::Stall { process, up: way != 1, down: way != 0, lasts }
            }
            14..=16 => Self::Partition { process, lasts },
            17..=19 => Self::ServerStops { lasts },
            20..=21 => Self::Restart { down: chance.pick(&[0, 100, 1500, 5000]) * MS, keeps_data: true },
            22 => Self::Restart { down: chance.pick(&[0, 100, 1500]) * MS, keeps_data: false },
            23..=25 => Self::ScriptFlush,
            26..=28 => Self::OutOfMemory { lasts },
            29..=30 => Self::ReadOnly { lasts },
            31 => {
                let by = i64::try_from(lasts).unwrap_or(i64::MAX);
                Self::ClockStep { by: if chance.one_in(2) { by } else { -by } }
            }
            32..=35 => Self::ProcessStops { process, lasts },
            36..=37 => Self::LaneStops { process, lasts },
            // distlock takes less than 100 ms for the time between two readings of a clock.
            38 => Self::Suspend { lasts: lasts * 2 + 200 * MS },
            39..=40 => Self::Kill { process, with_host: chance.one_in(2) },
            _ => Self::ClockRate { ppm: chance.pick(&[-DRIFT_PPM, DRIFT_PPM / 10, DRIFT_PPM, DRIFT_PPM]) },
        }
    }

    /// Draws a fault that delays no release.
    fn draw_mild(chance: &mut Chance) -> Self {
        match chance.below(2) {
            0 => Self::ScriptFlush,
            _ => Self::OutOfMemory { lasts: chance.between(50, 6000) * MS },
        }
    }

    /// Draws a fault in which commands fail, and none arrives late.
    fn draw_prompt(chance: &mut Chance, processes: u32) -> Self {
        let process = u32::try_from(chance.between(1, processes.into())).expect("few processes");
        match chance.below(6) {
            0..=1 => Self::Cut { process, server_hears_after: chance.pick(&[0, 50]) * MS },
            2 => Self::HalfClose { process },
            3 => Self::ReadOnly { lasts: chance.between(50, 2000) * MS },
            _ => Self::Restart { down: chance.pick(&[100, 700, 1500]) * MS, keeps_data: true },
        }
    }

    /// For how long it goes on, in us.
    fn lasts(&self) -> u64 {
        match *self {
            Self::Slow { lasts, .. }
            | Self::Stall { lasts, .. }
            | Self::Partition { lasts, .. }
            | Self::ServerStops { lasts }
            | Self::OutOfMemory { lasts }
            | Self::ReadOnly { lasts }
            | Self::ProcessStops { lasts, .. }
            | Self::LaneStops { lasts, .. } => lasts,
            Self::Restart { down, .. } => down,
            Self::Cut { server_hears_after, .. } => server_hears_after,
            Self::ClockStep { by } => u64::try_from(-by).unwrap_or(0),
            Self::HalfClose { .. }
            | Self::ScriptFlush
            | Self::Suspend { .. }
            | Self::ClockRate { .. }
            | Self::Kill { .. } => 0,
        }
    }
}

/// How long a call waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wait {
    None,
    /// So many ms.
    For(u64),
    Forever,
}

/// How a call holds its lock, and how that ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// A guard that is released.
    Released,
    /// A guard that is dropped.
    Dropped,
    /// A body that runs under the lock.
    Run,
}

/// One call of a process. All durations are in ms.
#[derive(Clone, Debug)]
pub struct Call {
    pub pause_before: u64,
    /// The number of the key.
    pub key: usize,
    pub ttl: u64,
    pub wait: Wait,
    pub fair: bool,
    pub at_least: u64,
    /// The call goes on in another runtime of its process after this time, if there is one.
    pub moves_after: Option<u64>,
    /// The call is dropped after this time, if it stays in its runtime.
    pub dropped_after: Option<u64>,
    /// The body's awaits.
    pub body: Vec<u64>,
    pub form: Form,
}

/// A whole schedule.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// How many lanes each process has.
    pub lanes: Vec<u32>,
    /// The second process is the child of a fork of the first.
    pub forks: bool,
    /// How many keys there are. A fencing token is asked for on key 0.
    pub keys: usize,
    /// The calls of each task: its process, the place of its lane there, and its calls one after the other.
    pub tasks: Vec<(u32, usize, Vec<Call>)>,
    /// The faults, each with the time of its beginning in us.
    pub faults: Vec<(u64, Fault)>,
    /// A process stops at one of its polls: process, poll, us.
    pub stops: Vec<(u32, u64, u64)>,
    /// The longest that bytes usually are under way, in us.
    pub latency: u64,
    /// A poll in so many is put off; 0 for none.
    pub puts_off: u64,
}

/// The least that a schedule has.
pub const ACQUISITIONS: usize = 30;

impl Plan {
    /// Draws the schedule of a seed.
    ///
    /// # Panics
    /// Never: what it counts is small.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let chance = &mut Chance::new(seed, 3);
        let processes = chance.pick(&[3, 3, 4]);
        let lanes: Vec<u32> = (0..processes).map(|_| chance.pick(&[1, 1, 2])).collect();
        let keys = 2;
        let mut tasks: Vec<(u32, usize, Vec<Call>)> = Vec::new();
        for process in 1..=processes {
            let lanes = lanes[process as usize - 1] as usize;
            for task in 0..chance.between(2, 3) {
                let lane = usize::try_from(task).expect("few tasks") % lanes;
                tasks.push((process, lane, Vec::new()));
            }
        }
        let style = Style::draw(chance);
        for number in 0..ACQUISITIONS + 2 {
            let task = number % tasks.len();
            tasks[task].2.push(style.call(chance, keys));
        }
        let mut faults = Vec::new();
        let mut stops = Vec::new();
        // One schedule in ten has no faults, for what is only promised without. Two have only faults that no
        // call has to notice, and one has only faults after which commands are sent again.
        let severity = chance.below(10);
        if severity == 3 {
            for _ in 0..chance.between(3, 5) {
                let at = chance.between(0, 5000) * MS;
                faults.push((at, Fault::draw_prompt(chance, processes)));
            }
        } else if (1..=2).contains(&severity) {
            for _ in 0..chance.between(3, 6) {
                let at = chance.between(0, 4000) * MS;
                faults.push((at, Fault::draw_mild(chance)));
            }
        } else if severity > 2 {
            for _ in 0..chance.between(3, 6) {
                let at = chance.between(0, 8000) * MS;
                faults.push((at, Fault::draw(chance, processes)));
            }
            if chance.one_in(2) {
                let process = u32::try_from(chance.between(1, processes.into())).expect("few processes");
                stops.push((process, chance.between(1, 1500), chance.between(50, 6000) * MS));
            }
        }
        let latency = chance.pick(&[200, 900, 3000, 15_000]);
        let puts_off = chance.pick(&[0, 0, 3, 10]);
        let forks = chance.one_in(3);
        Self { seed, lanes, forks, keys, tasks, faults, stops, latency, puts_off }
    }

    /// When the last fault is over, in us. A stop at a poll is noted when it happens.
    #[must_use]
    pub fn faults_end(&self) -> u64 {
        self.faults.iter().map(|(at, fault)| at + fault.lasts()).max().unwrap_or(0)
    }

    /// Whether nothing goes wrong.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.faults.is_empty() && self.stops.is_empty()
    }

    /// Whether nothing goes wrong that delays a release.
    #[must_use]
    pub fn is_mild(&self) -> bool {
        let is_mild = |fault: &Fault| matches!(fault, Fault::ScriptFlush | Fault::OutOfMemory { .. });
        self.stops.is_empty() && self.faults.iter().all(|(_, fault)| is_mild(fault))
    }

    /// Whether no command arrives late, and no process stands still.
    #[must_use]
    pub fn is_prompt(&self) -> bool {
        let is_prompt = |fault: &Fault| match fault {
            Fault::Cut { server_hears_after, .. } => *server_hears_after <= 50 * MS,
            Fault::HalfClose { .. } | Fault::ReadOnly { .. } | Fault::Restart { keeps_data: true, .. } => {
                true
            }
            _ => false,
        };
        self.stops.is_empty() && self.faults.iter().all(|(_, fault)| is_prompt(fault))
    }

    /// Whether commands may reach the server after the leases that they ask for are over, and so after their
    /// process has given up to take them back.
    #[must_use]
    pub fn delivers_late(&self) -> bool {
        let shortest = 300 * MS;
        self.faults.iter().any(|(_, fault)| match *fault {
            Fault::Stall { lasts, .. } | Fault::Partition { lasts, .. } | Fault::ServerStops { lasts } => {
                lasts >= shortest
            }
            Fault::Slow { by, .. } => by >= shortest,
            Fault::ProcessStops { .. } | Fault::LaneStops { .. } => true,
            _ => false,
        }) || !self.stops.is_empty()
    }

    /// How many acquisitions it has.
    #[must_use]
    pub fn acquisitions(&self) -> usize {
        self.tasks.iter().map(|(_, _, calls)| calls.len()).sum()
    }
}

/// What the calls of a schedule have in common, so that schedules differ more than calls do.
struct Style {
    ttls: Vec<u64>,
    bodies: u64,
    pauses: u64,
    drops: u64,
}

impl Style {
    fn draw(chance: &mut Chance) -> Self {
        Self {
            ttls: chance.pick(&[vec![300, 800], vec![1500, 3000], vec![3000, 10_000], vec![400, 2500, 8000]]),
            bodies: chance.pick(&[3, 30, 300, 1200]),
            pauses: chance.pick(&[1, 50, 800]),
            drops: chance.pick(&[4, 8, 1000]),
        }
    }

    fn call(&self, chance: &mut Chance, keys: usize) -> Call {
        let key = usize::try_from(chance.below(keys as u64)).expect("few keys");
        let ttl = chance.pick(&self.ttls);
        let wait = match chance.below(8) {
            0 => Wait::None,
            1 => Wait::For(chance.between(1, 500)),
            2 => Wait::For(chance.between(500, 5000)),
            _ => Wait::Forever,
        };
        let awaits = chance.between(0, 4);
        Call {
            pause_before: chance.below(self.pauses + 1),
            key,
            ttl,
            wait,
            fair: wait == Wait::None || key == 0 || chance.one_in(2),
            at_least: if chance.one_in(8) { chance.between(1, ttl.min(3000)) } else { 0 },
            moves_after: chance.one_in(8).then(|| chance.between(0, 1000)),
            dropped_after: chance.one_in(self.drops).then(|| chance.between(0, 1500)),
            body: (0..awaits).map(|_| chance.below(self.bodies)).collect(),
            form: chance.pick(&[Form::Released, Form::Dropped, Form::Run, Form::Run]),
        }
    }
}

/// Seconds as us.
#[must_use]
pub fn seconds(seconds: u64) -> u64 {
    seconds * SECOND
}
