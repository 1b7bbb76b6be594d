//! When a server that was started a short time ago, perhaps without its data, may grant leases again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The latest start of a server that is known: its run id, and when it grants leases again.
#[derive(Default)]
pub(super) struct LastStart(Mutex<Option<(String, Instant)>>);

/// The run id in an answer to `INFO server`.
pub(super) fn run_id(info: &str) -> Option<&str> {
    field(info, "run_id").filter(|run_id| !run_id.is_empty())
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|text| text.trim().strip_prefix(name)?.strip_prefix(':'))
}

impl LastStart {
    /// When the server that answered this to `INFO server` grants leases again: `delay` after its start.
    ///
    /// A server that was known under another run id was started since then, whatever its clock says. For a
    /// server that was not known, `uptime_in_seconds` decides: the difference of two readings of its clock,
    /// each cut to a second.
    pub(super) fn grants_from(&self, info: &str, delay: Duration, now: Instant) -> Instant {
        let run_id = run_id(info).unwrap_or_default();
        let uptime: u64 =
            field(info, "uptime_in_seconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match &*last {
            Some((known, at)) if known == run_id => *at,
            Some(_) => now + delay,
            None => now + delay.saturating_sub(Duration::from_secs(uptime.saturating_sub(1))),
        };
        *last = Some((run_id.to_owned(), at));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(10);

    fn info(run_id: &str, uptime: u64) -> String {
        format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{run_id}\r\nuptime_in_seconds:{uptime}\r\n")
    }

    #[test]
    fn a_server_grants_nothing_for_a_delay_from_its_start() {
        let now = Instant::now();
        let remaining = |uptime| LastStart::default().grants_from(&info("a", uptime), DELAY, now) - now;
        assert_eq!(remaining(0), DELAY);
        // It may have been up for no more than an instant.
        assert_eq!(remaining(1), DELAY);
        assert_eq!(remaining(2), Duration::from_secs(9));
        assert_eq!(remaining(11), Duration::ZERO);
        assert_eq!(remaining(1_000_000), Duration::ZERO);
    }

    #[test]
    fn a_new_run_id_is_a_restart_whatever_the_uptime_says() {
        let (now, server) = (Instant::now(), LastStart::default());
        assert_eq!(server.grants_from(&info("a", 1_000_000), DELAY, now), now);
        let later = now + DELAY;
        assert_eq!(server.grants_from(&info("b", 1_000_000), DELAY, later), later + DELAY);
        // A new connection to the same server changes nothing.
        assert_eq!(server.grants_from(&info("b", 1_000_000), DELAY, later + DELAY / 2), later + DELAY);
    }

    #[test]
    fn a_server_without_run_id_and_uptime_counts_as_just_started() {
        let now = Instant::now();
        assert_eq!(LastStart::default().grants_from("", DELAY, now), now + DELAY);
    }
}
