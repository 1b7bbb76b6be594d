//! When a server that was started a short time ago, perhaps without its data, may grant leases again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The latest start of a server that was seen.
#[derive(Default)]
pub(super) struct LastStart(Mutex<Option<(String, Instant)>>);

impl LastStart {
    /// From when a server grants leases that says this of itself, by `INFO server`: `delay` after its start.
    ///
    /// One that was seen before and now has another run id has been started since, by whatever clock. One that is seen for the first time is taken by its
    /// word for how long it is up: the difference of two readings of its clock, each cut to a second.
    pub(super) fn grants_from(&self, info: &str, delay: Duration, now: Instant) -> Instant {
        let field = |name| info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
        let run_id = field("run_id").unwrap_or_default();
        let uptime: u64 = field("uptime_in_seconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = match &*last {
            Some((seen, at)) if seen == run_id => *at,
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

    fn says(run_id: &str, uptime: u64) -> String {
        format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{run_id}\r\nuptime_in_seconds:{uptime}\r\n")
    }

    #[test]
    fn a_server_stays_out_for_a_delay_from_its_start() {
        let now = Instant::now();
        let left = |uptime| LastStart::default().grants_from(&says("a", uptime), DELAY, now) - now;
        assert_eq!(left(0), DELAY);
        // It may be up for no more than an instant.
        assert_eq!(left(1), DELAY);
        assert_eq!(left(2), Duration::from_secs(9));
        assert_eq!(left(11), Duration::ZERO);
        assert_eq!(left(1_000_000), Duration::ZERO);
    }

    #[test]
    fn a_new_run_id_is_a_restart_whatever_the_uptime_says() {
        let (now, server) = (Instant::now(), LastStart::default());
        assert_eq!(server.grants_from(&says("a", 1_000_000), DELAY, now), now);
        let later = now + DELAY;
        assert_eq!(server.grants_from(&says("b", 1_000_000), DELAY, later), later + DELAY);
        // Connected anew, it is no other.
        assert_eq!(server.grants_from(&says("b", 1_000_000), DELAY, later + DELAY / 2), later + DELAY);
    }

    #[test]
    fn a_server_that_says_nothing_of_itself_stays_out() {
        let now = Instant::now();
        assert_eq!(LastStart::default().grants_from("", DELAY, now), now + DELAY);
    }
}
