//! The record of the soaks on several servers, and its checker.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{
    clock::Nanos,
    history::{Body, Forgotten, overlaps_of},
};

/// One line of the record, written by a worker or by the program that causes the faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A lock was granted.
    Granted {
        /// The number in the key's name.
        key: u32,
        /// The fencing token; 0 if the call asked for none.
        token: u64,
        /// When the call was made.
        asked: Nanos,
        /// When the call returned.
        at: Nanos,
    },
    /// A section ran to its end in a valid lease.
    Ran(Body),
    /// Servers may have forgotten the lock of a key, as is documented.
    Forgot(Forgotten),
    /// A fencing token was shown to the resource.
    Wrote {
        /// Whether the resource accepted the write.
        accepted: bool,
    },
    /// A call returned that the key was busy.
    Busy {
        /// The number in the key's name.
        key: u32,
        /// How long the call waited.
        waited: Nanos,
    },
    /// A call returned another error.
    Failed {
        /// How long the call would have waited; 0 if waiting does not mend the error.
        wait: Nanos,
        /// How long the call waited.
        waited: Nanos,
        /// The error.
        message: String,
    },
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { key, token, asked, at } => write!(f, "granted {key} {token} {asked} {at}"),
            Self::Ran(Body { key, start, end, leased }) => write!(f, "ran {key} {start} {end} {leased}"),
            Self::Forgot(Forgotten { key, start, end }) => write!(f, "forgot {key} {start} {end}"),
            Self::Wrote { accepted } => write!(f, "wrote {}", u8::from(*accepted)),
            Self::Busy { key, waited } => write!(f, "busy {key} {waited}"),
            Self::Failed { wait, waited, message } => {
                write!(f, "failed {wait} {waited} {}", message.replace('\n', " "))
            }
        }
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.splitn(4, ' ');
        if let (Some("failed"), Some(wait), Some(waited), Some(message)) =
            (words.next(), words.next(), words.next(), words.next())
        {
            let nanos = |word: &str| word.parse().map_err(|error| format!("{error}: {line}"));
            let (wait, waited) = (nanos(wait)?, nanos(waited)?);
            return Ok(Self::Failed { wait, waited, message: message.to_owned() });
        }
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        let key = |number| u32::try_from(number).map_err(|error| format!("{error}"));
        Ok(match (what, &numbers[..]) {
            ("granted", &[of, token, asked, at]) => Self::Granted { key: key(of)?, token, asked, at },
            ("ran", &[of, start, end, leased]) => Self::Ran(Body { key: key(of)?, start, end, leased }),
            ("forgot", &[of, start, end]) => Self::Forgot(Forgotten { key: key(of)?, start, end }),
            ("wrote", &[accepted]) => Self::Wrote { accepted: accepted == 1 },
            ("busy", &[of, waited]) => Self::Busy { key: key(of)?, waited },
            _ => return Err(format!("not a line of the record: {line}")),
        })
    }
}

/// What a record shows.
#[derive(Debug)]
pub struct Verdict {
    /// How often each kind of entry occurs.
    pub counts: Vec<(&'static str, u64)>,
    /// Each promise that can be broken, with the cases in which it was.
    pub violations: Vec<(&'static str, Vec<String>)>,
}

impl Verdict {
    /// Returns whether no promise was broken.
    pub fn is_clean(&self) -> bool {
        self.violations.iter().all(|(_, found)| found.is_empty())
    }
}

/// What a record is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest time in which a process learns that its lock was forgotten.
    pub notice: Nanos,
    /// Calls that would have waited for less may fail at once.
    pub patience: Nanos,
    /// The longest time that a call may wait.
    pub service: Nanos,
}

/// Checks a record: tokens are unique, a call that was made after a grant gets a higher token, sections do
/// not overlap, and a call that waits is served, and does not give up.
pub fn verdict(entries: &[Entry], Limits { notice, patience, service }: Limits) -> Verdict {
    let mut grants: BTreeMap<u32, Vec<(Nanos, Nanos, u64)>> = BTreeMap::new();
    let (mut sections, mut forgotten) = (Vec::new(), Vec::new());
    let (mut impatient, mut unserved) = (Vec::new(), Vec::new());
    for entry in entries {
        let waited = match entry {
            Entry::Granted { key, asked, at, .. } => Some((key, at.saturating_sub(*asked))),
            Entry::Busy { key, waited } => Some((key, *waited)),
            _ => None,
        };
        if let Some((key, waited)) = waited.filter(|(_, waited)| *waited > service) {
            unserved.push(format!("{key}: {} ms", waited / 1_000_000));
        }
        match entry {
            Entry::Granted { key, token: token @ 1.., asked, at } => {
                grants.entry(*key).or_default().push((*asked, *at, *token));
            }
            Entry::Ran(body) => sections.push(*body),
            Entry::Forgot(time) => forgotten.push(*time),
            Entry::Failed { wait, waited, message } if *wait >= patience && waited < wait => {
                impatient.push(format!("after {} ms: {message}", waited / 1_000_000));
            }
            _ => {}
        }
    }
    let (mut shared, mut sinking) = (Vec::new(), Vec::new());
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
    let overlaps = overlaps_of(sections, &forgotten, notice);
    let overlapping = overlaps.iter().map(|overlap| format!("{overlap:?}")).collect();
    let count = |is: fn(&Entry) -> bool| {
        u64::try_from(entries.iter().filter(|entry| is(entry)).count()).unwrap_or(u64::MAX)
    };
    Verdict {
        counts: vec![
            ("granted", count(|entry| matches!(entry, Entry::Granted { .. }))),
            ("sections in a valid lease", count(|entry| matches!(entry, Entry::Ran(_)))),
            ("writes taken", count(|entry| matches!(entry, Entry::Wrote { accepted: true }))),
            ("stale writes refused", count(|entry| matches!(entry, Entry::Wrote { accepted: false }))),
            ("busy", count(|entry| matches!(entry, Entry::Busy { .. }))),
            ("store errors", count(|entry| matches!(entry, Entry::Failed { .. }))),
        ],
        violations: vec![
            ("grants that share a token", shared),
            ("tokens below an earlier one", sinking),
            ("sections that overlap", overlapping),
            ("calls that gave up", impatient),
            ("calls that waited too long", unserved),
        ],
    }
}
