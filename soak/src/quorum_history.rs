//! What the workers did, and whether they may have.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::clock::Nanos;

#[derive(Debug, Clone, Copy)]
pub enum Entry {
    /// A lock that was asked for was granted, with a fencing token.
    Granted {
        key: u32,
        token: u64,
        asked: Nanos,
        at: Nanos,
    },
    /// A section ran to its end in a valid lease.
    Ran {
        key: u32,
        start: Nanos,
        end: Nanos,
    },
    /// A token was shown to the resource.
    Wrote {
        accepted: bool,
    },
    Busy,
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
            _ => return Err(format!("not a line of a record: {line}")),
        })
    }
}

/// What a history comes to.
pub struct Verdict {
    pub counts: Vec<(&'static str, usize)>,
    pub violations: Vec<(&'static str, Vec<String>)>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.violations.iter().all(|(_, found)| found.is_empty())
    }
}

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
        // Whoever asked after another one had been granted has a higher token than that one.
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
