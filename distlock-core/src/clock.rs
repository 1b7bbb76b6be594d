//! Points in time: the host's monotonic clock and its suspensions, and the wall clock for fencing tokens.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::seam;

/// A point in time that also counts for how long the host has been suspended before it.
///
/// On Linux and Android the monotonic clock, and so tokio's, stops while the host is suspended. The server's
/// clock does not. With a plain [`Instant`], a lease would seem to outlive a night with the lid closed. On
/// other systems only the `Instant` counts.
///
/// A store of your own needs it for a [`HandOver`](crate::HandOver): take it before you send what may be
/// answered by a grant.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub(crate) at: Instant,
    /// For how long the host has been suspended since it was started.
    suspended: Duration,
}

impl Moment {
    /// The current moment.
    #[must_use]
    pub fn now() -> Self {
        Self { at: Instant::now(), suspended: seam::suspended().unwrap_or_else(suspended) }
    }

    /// The time since an earlier moment, suspensions included; zero if that moment is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let suspended = self.suspended.saturating_sub(earlier.suspended);
        // The two clocks are read one after the other. A difference this small is the time between the
        // readings.
        let suspended = if suspended < Duration::from_millis(100) { Duration::ZERO } else { suspended };
        self.at.saturating_duration_since(earlier.at) + suspended
    }
}

/// For how long the host has been suspended since it was started.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn suspended() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    // A thread that is paused between the readings makes the result too small by the pause. In the earlier of
    // two moments that ends a lease early. In the later one it matters only if the host was suspended as
    // well.
    let with_suspension = read(ClockId::Boottime);
    with_suspension.saturating_sub(read(ClockId::Monotonic))
}

/// On other systems std does not tell suspensions.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn suspended() -> Duration {
    Duration::ZERO
}

/// The time of day, in microseconds since 1970. Fencing tokens alone depend on it.
#[derive(Clone, Default)]
pub(crate) struct WallClock(Option<Arc<dyn Fn() -> u64 + Send + Sync>>);

impl WallClock {
    /// Another clock than the host's, for tests.
    pub(crate) fn of(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(clock)))
    }

    /// The current time; 0 if it is before 1970.
    pub(crate) fn micros(&self) -> u64 {
        if let Some(clock) = &self.0 {
            return clock();
        }
        if let Some(micros) = seam::wall_clock() {
            return micros;
        }
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        u64::try_from(micros).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_the_host_was_suspended_counts() {
        let start = Moment { at: Instant::now(), suspended: Duration::from_secs(100) };
        let later = |awake, asleep| Moment { at: start.at + awake, suspended: start.suspended + asleep };
        let (second, night) = (Duration::from_secs(1), Duration::from_secs(8 * 3600));
        assert_eq!(later(second, Duration::ZERO).since(start), second);
        assert_eq!(later(second, night).since(start), second + night);
        assert_eq!(later(second, Duration::from_millis(99)).since(start), second);
        assert_eq!(start.since(later(second, night)), Duration::ZERO);
    }

    #[test]
    fn a_host_that_is_awake_is_not_suspended() {
        let start = Moment::now();
        assert!(Moment::now().since(start) < Duration::from_secs(60));
    }
}
