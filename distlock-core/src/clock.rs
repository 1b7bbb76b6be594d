//! Points in time: the host's monotonic clock with its suspension, and the wall clock for fencing tokens.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

/// A point in time that also knows how long the host has been suspended before it.
///
/// Linux's monotonic clock, and so tokio's, stands still while the host sleeps, and a server's does not: a lease must not
/// outlive a night with the lid closed.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub(crate) at: Instant,
    suspended: Duration,
}

impl Moment {
    /// The current moment.
    #[must_use]
    pub fn now() -> Self {
        Self { at: Instant::now(), suspended: suspended() }
    }

    /// The time that has passed for the rest of the world since an earlier moment.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let slept = self.suspended.saturating_sub(earlier.suspended);
        // The two clocks are not read at once; nobody suspends a host for less than this.
        let slept = if slept < Duration::from_millis(100) { Duration::ZERO } else { slept };
        self.at.saturating_duration_since(earlier.at) + slept
    }
}

/// For how long the host has been suspended since it was started.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn suspended() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    // In this order: a thread that is held up in between sees too little, and a lease that ends early at the worst.
    let with_suspension = read(ClockId::Boottime);
    with_suspension.saturating_sub(read(ClockId::Monotonic))
}

/// Elsewhere std says nothing of suspension.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn suspended() -> Duration {
    Duration::ZERO
}

/// Tells the time of day, in microseconds since 1970, for fencing tokens: nothing else goes by it.
#[derive(Clone, Default)]
pub(crate) struct WallClock(Option<Arc<dyn Fn() -> u64 + Send + Sync>>);

impl WallClock {
    pub(crate) fn of(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(clock)))
    }

    pub(crate) fn micros(&self) -> u64 {
        if let Some(clock) = &self.0 {
            return clock();
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
