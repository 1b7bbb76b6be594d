//! The command line.

use std::{ffi::OsString, net::SocketAddr, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use distlock_core::HolderId;

use crate::failure::{BUSY, LOST, USAGE};

/// Runs a program under a distributed lock, and shows who holds and waits for which lock.
#[derive(Debug, Parser)]
#[command(name = "distlock", version, after_help = URLS)]
pub(crate) struct Cli {
    /// The URL of the servers that keep the locks
    ///
    /// A password on the command line can be seen by other users of the host; in the variable it cannot.
    #[arg(long, global = true, env = "DISTLOCK_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const URLS: &str = "\
URLs are those of the library, with its parameters: redis://host:port/db, rediss://.. (TLS), unix:///path, \
redis-cluster://host1,host2 (a cluster), redis-sentinel://host1,host2,host3/service (the primary that sentinels \
name), redlock://host1,host2,host3 (a quorum), redis://host/?namespace=shop&ttl=10s.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunOptions),
    Doctor(DoctorOptions),
    Ls(ListOptions),
    Who(WhoOptions),
    Wait(WaitOptions),
    Break(BreakOptions),
    Top(TopOptions),
    Ui(UiOptions),
}

/// Shows the locks in the terminal, as they change
#[derive(Debug, Args)]
pub(crate) struct TopOptions {
    /// What the keys begin with
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// How often to ask the servers
    #[arg(long, value_parser = interval, default_value = "500ms")]
    pub(crate) every: Duration,
}

/// Shows the locks as a web page
///
/// The address of the page is written to standard output.
#[derive(Debug, Args)]
pub(crate) struct UiOptions {
    /// What the keys begin with
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// The address and port to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7780")]
    pub(crate) listen: SocketAddr,
    /// Let readers who have the printed address break locks
    #[arg(long)]
    pub(crate) allow_break: bool,
    /// How often to ask the servers
    #[arg(long, value_parser = interval, default_value = "500ms")]
    pub(crate) every: Duration,
}

/// Checks which promises hold on these servers
///
/// Each check is OK, unknown (the server does not tell), weak (locks work, and a promise rests on luck) or
/// broken, with what to change. The status is 1 if one is broken.
#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    /// Write an object for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Lists the keys that are held, and their holders
#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    /// What the keys begin with
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// Write an object in each line, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Shows who holds a key; the status is 1 if it is free
#[derive(Debug, Args)]
pub(crate) struct WhoOptions {
    /// The key
    pub(crate) key: String,
    /// Write an object for programs, or null
    #[arg(long)]
    pub(crate) json: bool,
}

/// Waits until a key is free, without acquiring it; the status is 75 if it is still held at the end
#[derive(Debug, Args)]
pub(crate) struct WaitOptions {
    /// The key
    pub(crate) key: String,
    /// How long to wait: a duration, or `forever` [default: forever]
    #[arg(long, value_parser = wait)]
    pub(crate) timeout: Option<Wait>,
    /// Write an object for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Ends the lease of the holder of a key; the first waiter gets the key
///
/// The holder is told at its next renewal, after a third of its ttl. Until then it may run on beside its
/// successor. The status is 1 if the key is free, and 75 if the holder changed meanwhile.
#[derive(Debug, Args)]
pub(crate) struct BreakOptions {
    /// The key
    pub(crate) key: String,
    /// Break the lock, and do not only say whose it is
    #[arg(long)]
    pub(crate) yes: bool,
    /// Break the lock only if its holder still has this id, which `who` shows
    #[arg(long)]
    pub(crate) id: Option<HolderId>,
    /// Write the holder that was broken as an object for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs a command while it holds the lock on a key
#[derive(Debug, Args)]
#[command(override_usage = "distlock run [OPTIONS] <KEY> -- <COMMAND>..", after_long_help = RUN_HELP)]
pub(crate) struct RunOptions {
    /// The key to lock
    pub(crate) key: String,
    /// How long the lease lasts without renewal, for instance 30s [default: the URL's, or 30s]
    ///
    /// The lease is renewed every third of the ttl. If `distlock` is killed or the host fails, the key stays
    /// taken until the ttl is over.
    #[arg(long, value_parser = duration)]
    pub(crate) ttl: Option<Duration>,
    /// How long to wait for the key: a duration, or `forever` [default: one attempt]
    #[arg(long, value_parser = wait)]
    pub(crate) wait: Option<Wait>,
    /// Ask for a fencing token, which the command finds in `DISTLOCK_FENCE`
    #[arg(long)]
    pub(crate) fenced: bool,
    /// How long the key stays taken at the least, even if the command ends earlier: for jobs that several
    /// hosts start at about the same time
    #[arg(long, value_parser = duration)]
    pub(crate) at_least: Option<Duration>,
    /// How long the command has to end after SIGTERM, when the lease is about to end [default: a sixth of the
    /// lease, 5s at the most]
    #[arg(long, value_parser = duration)]
    pub(crate) grace: Option<Duration>,
    /// The status if the key is held by another holder
    #[arg(short = 'E', long, default_value_t = BUSY, value_name = "STATUS")]
    pub(crate) conflict_exit_code: u8,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

const RUN_HELP: &str = "\
The command gets standard input and output as they are, and DISTLOCK_KEY (and DISTLOCK_FENCE with --fenced) in \
its environment. It runs in a process group of its own, to which distlock forwards HUP, INT, QUIT, TERM, USR1, \
USR2 and TSTP.

If the lease is lost, or is about to end because it cannot be renewed, the process group gets SIGTERM, and \
SIGKILL after the grace time, which is before the lease ends.

If distlock itself is stopped (SIGSTOP, a suspended laptop, a paused machine), it cannot stop the command in \
time. On resuming it kills the process group at once if the lease is over. Until then another holder may have \
begun: where a late write costs something, use --fenced, and let the resource refuse a DISTLOCK_FENCE that is \
lower than one it has seen.

If distlock is killed (kill -9), a second process of its own kills the command's process group at once, and the \
key is free when the ttl is over. On Linux the kernel kills the command even if both are killed. That does not \
reach what has left the process group (a daemon).

Exit status:
  the command's own; 128 + the signal that killed it; 126 or 127 if it cannot be run
  64  the command line or the URL is wrong
  69  the server is not reached, refuses, or is not fit for locks
  74  the lock was lost, and the command was stopped
  75  the key is held by another holder (see -E)";

/// How long `run` waits for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    UpTo(Duration),
    Forever,
}

impl Cli {
    /// Reads this process's command line. If there is nothing to do, because it is wrong or asks for help,
    /// writes what there is to say and gives the status.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            let written = error.print();
            match (error.use_stderr(), written) {
                (true, _) => ExitCode::from(USAGE),
                (false, Ok(())) => ExitCode::SUCCESS,
                (false, Err(_)) => ExitCode::from(LOST),
            }
        })
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    distlock_core::__private::parse_duration(text).map_err(|wrong| {
        format!("{wrong}; write whole seconds, `30`, or numbers with units, `500ms`, `1m 30s`")
    })
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err(format!("it is shorter than {SHORTEST_INTERVAL:?}; write 500ms"));
    }
    Ok(interval)
}

/// To ask more often would load the servers.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

fn wait(text: &str) -> Result<Wait, String> {
    if text == "forever" { Ok(Wait::Forever) } else { duration(text).map(Wait::UpTo) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wait_is_a_duration_or_forever() {
        assert_eq!(wait("1m 30s"), Ok(Wait::UpTo(Duration::from_secs(90))));
        assert_eq!(wait("30"), Ok(Wait::UpTo(Duration::from_secs(30))));
        assert_eq!(wait("forever"), Ok(Wait::Forever));
        assert!(wait("soon").unwrap_err().contains("write whole seconds"));
    }
}
