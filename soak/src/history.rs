//! The record of the soak on one server, and its checker.

use std::{fmt, str::FromStr};

use crate::clock::Nanos;

/// One line of the record, written by a worker or by the program that causes the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A body ran to its end, and its call returned the body's value.
    Ran {
        /// The number in the key's name.
        key: u32,
        /// The start of the lease as the body saw it when it began.
        leased: Nanos,
        /// When the body began.
        start: Nanos,
        /// When the body ended.
        end: Nanos,
        /// From the call to the body's begin.
        waited: Nanos,
        /// The number of the worker process.
        worker: u64,
    },
    /// A call returned that its lease was lost: its body was stopped, or ended too late.
    Lost {
        /// The number in the key's name.
        key: u32,
    },
    /// A call returned that the key was busy.
    Busy,
    /// A call returned another error.
    Failed,
    /// The key of a lock was deleted on the server between `start` and `end`.
    Deleted {
        /// The number in the key's name.
        key: u32,
        /// Before the deletion.
        start: Nanos,
        /// After the deletion.
        end: Nanos,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ran { key, leased, start, end, waited, worker } => {
                write!(f, "ran {key} {leased} {start} {end} {waited} {worker}")
            }
            Self::Lost { key } => write!(f, "lost {key}"),
            Self::Busy => f.write_str("busy"),
            Self::Failed => f.write_str("failed"),
            Self::Deleted { key, start, end } => write!(f, "deleted {key} {start} {end}"),
        }
    }
}

impl FromStr for Event {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let mut number = || {
            words.next().and_then(|word| word.parse().ok()).ok_or(format!("not a line of the record: {line}"))
        };
        let key = |number: u64| u32::try_from(number).map_err(|error| error.to_string());
        Ok(match what {
            "ran" => Self::Ran {
                key: key(number()?)?,
                leased: number()?,
                start: number()?,
                end: number()?,
                waited: number()?,
                worker: number()?,
            },
            "lost" => Self::Lost { key: key(number()?)? },
            "busy" => Self::Busy,
            "failed" => Self::Failed,
            "deleted" => Self::Deleted { key: key(number()?)?, start: number()?, end: number()? },
            _ => return Err(format!("not a line of the record: {line}")),
        })
    }
}

/// Two bodies of one key that ran at the same time and both ended in a lease that their processes believed to
/// be valid.
#[derive(Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The number in the key's name.
    pub key: u32,
    /// Begin and end of the body that began first.
    pub first: (Nanos, Nanos),
    /// Begin and end of the other body.
    pub second: (Nanos, Nanos),
}

/// A body that ran to its end in a lease that its process believed to be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Body {
    /// The number in the key's name.
    pub key: u32,
    /// When the body began.
    pub start: Nanos,
    /// When the body ended.
    pub end: Nanos,
    /// The start of the lease as the body saw it when it began.
    pub leased: Nanos,
}

/// A time in which servers forgot the lock of a key, or may have forgotten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// The number in the key's name.
    pub key: u32,
    /// The begin of the time.
    pub start: Nanos,
    /// The end of the time.
    pub end: Nanos,
}

impl Forgotten {
    /// Whether the body may have been in a lease that was forgotten, and could not know of it yet.
    fn explains(&self, body: &Body, notice: Nanos) -> bool {
        self.key == body.key
            && body.leased <= self.end
            && body.end >= self.start
            && body.end <= self.end + notice
    }
}

/// Finds all overlaps of bodies, except those that a deletion of the lock explains: see [`overlaps_of`].
pub fn overlaps(events: &[Event], notice: Nanos) -> Vec<Overlap> {
    let (mut bodies, mut deletions) = (Vec::new(), Vec::new());
    for event in events {
        match *event {
            Event::Ran { key, leased, start, end, .. } => bodies.push(Body { key, start, end, leased }),
            Event::Deleted { key, start, end } => deletions.push(Forgotten { key, start, end }),
            _ => {}
        }
    }
    overlaps_of(bodies, &deletions, notice)
}

/// Finds all overlaps of bodies, except those of leases that were forgotten.
///
/// A process cannot know that its lock was forgotten before its next renewal is answered, or the validity of
/// its lease is over: within `notice`. A body that ends within `notice` is therefore not counted if its lease
/// had started before the lock was forgotten. The body itself may have begun later: the lease was on its way
/// to it, or was handed over by another task of its process.
pub fn overlaps_of(mut bodies: Vec<Body>, forgotten: &[Forgotten], notice: Nanos) -> Vec<Overlap> {
    bodies.retain(|body| !forgotten.iter().any(|forgotten| forgotten.explains(body, notice)));
    bodies.sort_unstable();
    let mut found = Vec::new();
    // Of the bodies before, the one that ends last: a long body may overlap with several later ones.
    let mut latest: Option<Body> = None;
    for body in bodies {
        match latest {
            Some(before) if before.key == body.key => {
                if body.start < before.end {
                    let (first, second) = ((before.start, before.end), (body.start, body.end));
                    found.push(Overlap { key: body.key, first, second });
                }
                if body.end > before.end {
                    latest = Some(body);
                }
            }
            _ => latest = Some(body),
        }
    }
    found
}

/// Finds the workers that are stuck after the faults have stopped at `peace`: those that begin no body within
/// `limit`, which is measured from the end of the last body that had begun before `peace`.
pub fn stuck(events: &[Event], workers: &[u64], peace: Nanos, limit: Nanos) -> Vec<u64> {
    let bodies = || {
        events.iter().filter_map(|event| match *event {
            Event::Ran { start, end, worker, .. } => Some((start, end, worker)),
            _ => None,
        })
    };
    let under_way = bodies().filter(|&(start, ..)| start < peace).map(|(_, end, _)| end);
    let until = under_way.fold(peace, Nanos::max) + limit;
    let progresses = |worker| bodies().any(|(start, _, by)| by == worker && (peace..until).contains(&start));
    workers.iter().copied().filter(|&worker| !progresses(worker)).collect()
}
