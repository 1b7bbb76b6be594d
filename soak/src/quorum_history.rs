//! The record of the soak on five servers, and its checker.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::clock::Nanos;

/// One line of the record, written by a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A lock was granted.
    Granted {
        /// The number in the key's name.
        key: u32,
        /// The fencing token.
        token: u64,
        /// When the call was made.
        asked: Nanos,
        /// When the call returned.
        at: Nanos,
    },
    /// A section ran to its end in a valid lease.
    Ran {
        /// The number in the key's name.
        key: u32,
        /// When the section began.
        start: Nanos,
        /// When the section ended.
        end: Nanos,
    },
    /// A fencing token was shown to the resource.
    Wrote {
        /// Whether the resource accepted the write.
        accepted: bool,
    },
    /// A call returned that the key was busy.
    Busy,
    /// A call returned another error.
    Failed,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { key, token, asked, at } => write!(f, "granted {key} {token} {asked} {at}"),
            Self::Ran { key, start, end } => write!(f, "ran {key} {start} {end}"),
            Self::Wrote { accepted } => write!(f, "wrote {}", u8::from(*accepted)),
            Self::Busy => f.write_str("busy"),
            Self::Failed => f.write_str("failed"),
        }
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        let key = |number| u32::try_from(number).map_err(|error| format!("{error}"));
        Ok(match (what, &numbers[..]) {
            ("granted", &[of, token, asked, at]) => Self::Granted { key: key(of)?, token, asked, at },
            ("ran", &[of, start, end]) => Self::Ran { key: key(of)?, start, end },
            ("wrote", &[accepted]) => Self::Wrote { accepted: accepted == 1 },
            ("busy", []) => Self::Busy,
            ("failed", []) => Self::Failed,
            _ => return Err(format!("not a line of the record: {line}")),
        })
    }
}

/// What a record shows.
#[derive(Debug)]
pub struct Verdict {
    /// How often each kind of entry occurs.
    pub counts: Vec<(&'static str, usize)>,
    /// Each promise that can be broken, with the cases in which it was.
    pub violations: Vec<(&'static str, Vec<String>)>,
}

impl Verdict {
    /// Returns whether no promise was broken.
    pub fn is_clean(&self) -> bool {
        self.violations.iter().all(|(_, found)| found.is_empty())
    }
}

/// Checks a record: tokens are unique, a call that was made after a grant gets a higher token, and sections
/// do not overlap.
pub fn verdict(entries: &[Entry]) -> Verdict {
    let mut grants: BTreeMap<u32, Vec<(Nanos, Nanos, u64)>> = BTreeMap::new();
    let mut sections: BTreeMap<u32, Vec<(Nanos, Nanos)>> = BTreeMap::new();
    for entry in entries {
        match *entry {
            Entry::Granted { key, token, asked, at } => {
                grants.entry(key).or_default().push((asked, at, token));
            }
            Entry::Ran { key, start, end } => sections.entry(key).or_default().push((start, end)),
            _ => {}
        }
    }
    let (mut shared, mut sinking, mut overlapping) = (Vec::new(), Vec::new(), Vec::new());
    for (key, grants) in &mut grants {
        let mut tokens: Vec<u64> = grants.iter().map(|grant| grant.2).collect();
        tokens.sort_unstable();
        shared.extend(
            tokens.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| format!("{key}: {}", pair[0])),
        );
        // A call that was made after another grant must get a higher token.
        grants.sort_unstable();
        let mut granted: Vec<_> = grants.iter().map(|&(_, at, token)| (at, token)).collect();
        granted.sort_unstable();
        let (mut before, mut highest) = (granted.iter().peekable(), 0);
        for (asked, _, token) in grants.iter() {
            while let Some((_, token)) = before.next_if(|(at, _)| at < asked) {
                highest = highest.max(*token);
            }
            if *token <= highest {
                sinking.push(format!("{key}: {token} after {highest}"));
            }
        }
    }
    for (key, sections) in &mut sections {
        sections.sort_unstable();
        let overlaps = sections.windows(2).filter(|pair| pair[1].0 < pair[0].1);
        overlapping.extend(overlaps.map(|pair| format!("{key}: {pair:?}")));
    }
    let count = |is: fn(&Entry) -> bool| entries.iter().filter(|entry| is(entry)).count();
    Verdict {
        counts: vec![
            ("granted", count(|entry| matches!(entry, Entry::Granted { .. }))),
            ("sections in a valid lease", count(|entry| matches!(entry, Entry::Ran { .. }))),
            ("writes taken", count(|entry| matches!(entry, Entry::Wrote { accepted: true }))),
            ("stale writes refused", count(|entry| matches!(entry, Entry::Wrote { accepted: false }))),
            ("busy", count(|entry| matches!(entry, Entry::Busy))),
            ("store errors", count(|entry| matches!(entry, Entry::Failed))),
        ],
        violations: vec![
            ("grants that share a token", shared),
            ("tokens below an earlier one", sinking),
            ("sections that overlap", overlapping),
        ],
    }
}
