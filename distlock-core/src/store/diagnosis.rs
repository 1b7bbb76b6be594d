//! What a store's servers are like, for programs that look before they lock.

use std::{fmt, time::Duration};

/// What was found out about the servers of a store: see
/// [`LockManager::diagnose`](crate::LockManager::diagnose).
///
/// It displays as one line for each check, for a command such as `doctor`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The servers, in the order in which they were configured. Empty for a store that has none, such as one
    /// in memory, and for a store that cannot tell.
    pub servers: Vec<ServerDiagnosis>,
}

/// What was found out about one server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerDiagnosis {
    /// Host and port, or another name for messages.
    pub name: String,
    /// What was checked.
    pub checks: Vec<Check>,
    /// The commands that locks use, and whether the server lets this user have them. Empty if that is not
    /// known.
    pub rights: Vec<Right>,
    /// The server's clock beside this host's; `None` if the server does not tell.
    pub clock: Option<ClockDifference>,
}

/// Whether a server lets this user have a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Right {
    /// The command in upper case, with its subcommand if it has one: `SET`, `CLIENT TRACKING`.
    pub command: String,
    /// What the command is needed for: [`Commands`](CheckSubject::Commands) for every lock,
    /// [`Fencing`](CheckSubject::Fencing), or [`Waiters`](CheckSubject::Waiters).
    pub purpose: CheckSubject,
    /// Whether it is allowed, where distlock uses it: by itself, in scripts, or both.
    pub is_allowed: bool,
}

/// What was found out about one property of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// What was checked.
    pub subject: CheckSubject,
    /// How it is.
    pub state: CheckState,
    /// What was found, and what to change, as a sentence of lower case without a full stop.
    pub finding: String,
}

/// What a [`Check`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckSubject {
    /// Whether the server answers.
    Reachable,
    /// Whether it is a server of its own, and not a node of a cluster or a Sentinel.
    Kind,
    /// Whether its version is known to work.
    Version,
    /// Whether it accepts writes.
    Role,
    /// Whether the commands are allowed that take a lock and give it back.
    Commands,
    /// Whether the keys of the namespace may be used.
    Keys,
    /// Whether the commands are allowed that draw fencing tokens.
    Fencing,
    /// Whether waiters are told of a release, so that they need not poll.
    Waiters,
    /// Whether it keeps leases when its memory is full.
    Eviction,
    /// Whether it keeps leases over a restart.
    Persistence,
    /// Whether it stops granting when it has lost its replicas.
    Replication,
}

/// How a server is in one respect, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CheckState {
    /// As it should be.
    Ok,
    /// The server does not tell.
    Unknown,
    /// Locks work, and a promise rests on luck or costs more than it has to.
    Weak,
    /// Locks do not work.
    Broken,
}

/// How a server's clock differs from this host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockDifference {
    /// By how many microseconds the server's clock is ahead; negative if it is behind.
    pub ahead_us: i64,
    /// By how much that may be wrong: half of the round trip in which it was found.
    pub uncertainty: Duration,
}

impl Diagnosis {
    /// The diagnosis of a store with these servers.
    pub fn new(servers: Vec<ServerDiagnosis>) -> Self {
        Self { servers }
    }

    /// The worst state of all checks; `None` if nothing was checked.
    pub fn worst(&self) -> Option<CheckState> {
        self.servers.iter().flat_map(|server| &server.checks).map(|check| check.state).max()
    }

    /// How far the clocks of the servers are apart; `None` unless at least two of them tell.
    ///
    /// Leases last by the clocks of the servers. A clock that differs by the same amount all the time does no
    /// harm. One that is stepped does.
    pub fn clock_spread(&self) -> Option<Duration> {
        let ahead = || self.servers.iter().filter_map(|server| Some(server.clock?.ahead_us));
        let spread = ahead().max()?.abs_diff(ahead().min()?);
        (ahead().count() > 1).then(|| Duration::from_micros(spread))
    }
}

impl ServerDiagnosis {
    /// The diagnosis of a server about which nothing is known yet. The name must not contain secrets.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), checks: Vec::new(), rights: Vec::new(), clock: None }
    }

    /// The check of this subject, if it was made.
    pub fn check(&self, subject: CheckSubject) -> Option<&Check> {
        self.checks.iter().find(|check| check.subject == subject)
    }
}

impl Check {
    /// Makes a check with what was found.
    pub fn new(subject: CheckSubject, state: CheckState, finding: impl Into<String>) -> Self {
        Self { subject, state, finding: finding.into() }
    }
}

impl Right {
    /// Makes the right to a command.
    pub fn new(command: impl Into<String>, purpose: CheckSubject, is_allowed: bool) -> Self {
        Self { command: command.into(), purpose, is_allowed }
    }
}

impl ClockDifference {
    /// Makes the difference between two clocks.
    pub const fn new(ahead_us: i64, uncertainty: Duration) -> Self {
        Self { ahead_us, uncertainty }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.servers {
            for check in &server.checks {
                writeln!(f, "{}: {}: {}", server.name, check.state, check.finding)?;
            }
            if let Some(clock) = server.clock {
                let (amount, side) =
                    (clock.ahead_us.unsigned_abs(), if clock.ahead_us < 0 { "behind" } else { "ahead of" });
                let (amount, error) = (Duration::from_micros(amount), clock.uncertainty);
                writeln!(
                    f,
                    "{}: clock: {amount:.1?} {side} this host's, give or take {error:.1?}",
                    server.name
                )?;
            }
        }
        if let Some(spread) = self.clock_spread() {
            writeln!(f, "the clocks of the servers are {spread:.1?} apart")?;
        }
        Ok(())
    }
}

impl fmt::Display for CheckState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Weak => "weak",
            Self::Broken => "broken",
        })
    }
}
