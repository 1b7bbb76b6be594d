//! What the workers did, and whether they may have.

use std::{fmt, str::FromStr};

use crate::clock::Nanos;

/// One line of a worker's or the nemesis's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A body of a worker process ran from `start` to `end`, in a lease that counted from `leased` when it began, and its call came back
    /// with its value.
    Ran { key: u32, leased: Nanos, start: Nanos, end: Nanos, waited: Nanos, worker: u64 },
    /// A body was stopped, or its value refused, because its lease was lost.
    Lost { key: u32 },
    /// The key was held by somebody else.
    Busy,
    /// The store failed.
    Failed,
    /// Somebody deleted the key's lock on the server, between these instants.
    Deleted { key: u32, start: Nanos, end: Nanos },
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
            words.next().and_then(|word| word.parse().ok()).ok_or(format!("not a line of a record: {line}"))
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
            _ => return Err(format!("not a line of a record: {line}")),
        })
    }
}

/// Two bodies of one key that both ran to their end in what they took for valid leases, at the same time.
#[derive(Debug, PartialEq, Eq)]
pub struct Overlap {
    pub key: u32,
    pub first: (Nanos, Nanos),
    pub second: (Nanos, Nanos),
}

/// All overlaps in a history.
///
/// A body whose lock somebody deleted under it is excused for as long as it cannot know: it learns of it at its next renewal, within
/// `notice` of the deletion. So is one that had yet to begin: the lease was on its way to it, or its neighbour's, who left it on. If a body
/// runs on to a proper end after that, it is not excused.
pub fn overlaps(events: &[Event], notice: Nanos) -> Vec<Overlap> {
    let deletions: Vec<(u32, Nanos, Nanos)> = events
        .iter()
        .filter_map(|event| match *event {
            Event::Deleted { key, start, end } => Some((key, start, end)),
            _ => None,
        })
        .collect();
    let excused = |of: u32, leased: Nanos, to: Nanos| {
        deletions
            .iter()
            .any(|&(key, start, end)| key == of && leased <= end && to >= start && to <= end + notice)
    };
    let mut bodies: Vec<(u32, Nanos, Nanos)> = events
        .iter()
        .filter_map(|event| match *event {
            Event::Ran { key, leased, start, end, .. } if !excused(key, leased, end) => {
                Some((key, start, end))
            }
            _ => None,
        })
        .collect();
    bodies.sort_unstable();
    let mut found = Vec::new();
    // The one before that ends last: a long body may overlap with more than its neighbour.
    let mut latest: Option<(u32, Nanos, Nanos)> = None;
    for body @ (key, start, end) in bodies {
        match latest {
            Some((of, from, to)) if of == key => {
                if start < to {
                    found.push(Overlap { key, first: (from, to), second: (start, end) });
                }
                if end > to {
                    latest = Some(body);
                }
            }
            _ => latest = Some(body),
        }
    }
    found
}

/// The workers that have not begun a body within `limit` of peace, or of the end of the last body that was under way then.
pub fn stuck(events: &[Event], workers: &[u64], peace: Nanos, limit: Nanos) -> Vec<u64> {
    let bodies = || {
        events.iter().filter_map(|event| match *event {
            Event::Ran { start, end, worker, .. } => Some((start, end, worker)),
            _ => None,
        })
    };
    let under_way = bodies().filter(|&(start, ..)| start < peace).map(|(_, end, _)| end);
    let until = under_way.fold(peace, Nanos::max) + limit;
    let gets_on = |worker| bodies().any(|(start, _, by)| by == worker && (peace..until).contains(&start));
    workers.iter().copied().filter(|&worker| !gets_on(worker)).collect()
}
