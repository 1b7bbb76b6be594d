//! Compares a server's clock with this host's, by fencing tokens that were drawn at the server's clock.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{clock::Moment, token::FencingToken};

/// How far apart the grants that are compared may be: long enough to see a drift of a hundredth over any
/// round trip, short enough to forget a step.
const LONGEST: Duration = Duration::from_secs(60);

/// An earlier reading of the server's clock. The first grant sets it, and another one after each minute.
#[derive(Default)]
pub(crate) struct ServerClock(Mutex<Option<Reading>>);

/// The server's clock had this value at some moment from `sent` to `heard`.
#[derive(Clone, Copy)]
struct Reading {
    micros: u64,
    sent: Moment,
    heard: Moment,
}

impl ServerClock {
    /// The drift since an earlier grant, as [`LeaseHealth::drift`](crate::LeaseHealth::drift) has it; `None`
    /// for the first one.
    pub(crate) fn drift(&self, fence: FencingToken, sent: Moment, heard: Moment) -> Option<f64> {
        let now = Reading { micros: fence.value(), sent, heard };
        let mut earlier = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let drift = earlier.and_then(|earlier| drift(earlier, now));
        if earlier.is_none_or(|earlier| heard.since(earlier.heard) >= LONGEST) {
            *earlier = Some(now);
        }
        drift
    }
}

/// What cannot be explained by the round trips, as a share of the time between.
fn drift(earlier: Reading, later: Reading) -> Option<f64> {
    let least = later.sent.since(earlier.heard).as_secs_f64();
    let most = later.heard.since(earlier.sent).as_secs_f64();
    let magnitude = Duration::from_micros(later.micros.abs_diff(earlier.micros)).as_secs_f64();
    let passed = if later.micros < earlier.micros { -magnitude } else { magnitude };
    (most > 0.0).then(|| (passed - passed.clamp(least.min(most), most)) / most)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// Draws a token at a clock of the server that has this value, with an answer after `round_trip`.
    async fn grant(clock: &ServerClock, micros: u64, round_trip: Duration) -> Option<f64> {
        let sent = Moment::now();
        sleep(round_trip).await;
        clock.drift(FencingToken::new(micros), sent, Moment::now())
    }

    const ROUND_TRIP: Duration = Duration::from_millis(10);
    const START: u64 = 1_700_000_000_000_000;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_agrees_within_the_round_trips_does_not_drift() {
        let clock = ServerClock::default();
        assert_eq!(grant(&clock, START, ROUND_TRIP).await, None, "nothing to compare with");
        sleep(Duration::from_millis(990)).await;
        // Between the two drawings, 0.99 s to 1.01 s have passed.
        assert_eq!(grant(&clock, START + 1_009_000, ROUND_TRIP).await, Some(0.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_runs_fast_or_steps_back_is_seen() {
        let clock = ServerClock::default();
        grant(&clock, START, Duration::ZERO).await;
        sleep(Duration::from_secs(10)).await;
        let fast = grant(&clock, START + 10_500_000, Duration::ZERO).await.unwrap();
        assert!((fast - 0.05).abs() < 1e-6, "{fast}");
        let back = grant(&clock, START - 10_000_000, Duration::ZERO).await.unwrap();
        assert!((back + 2.0).abs() < 1e-6, "{back}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_is_forgotten_after_a_minute() {
        let clock = ServerClock::default();
        grant(&clock, START, Duration::ZERO).await;
        sleep(LONGEST).await;
        assert!(grant(&clock, START + 90_000_000, Duration::ZERO).await.unwrap() > 0.4);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(grant(&clock, START + 91_000_000, Duration::ZERO).await, Some(0.0));
    }
}
