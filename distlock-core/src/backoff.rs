//! Delays between attempts: doubling up to a longest one, with jitter where many would otherwise march in
//! step.

use std::time::Duration;

use crate::seam;

/// The delays between attempts of one task.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    /// The next delay before jitter; each delay taken doubles it.
    next: Duration,
    longest: Duration,
    /// The part of a delay, from 0 to 1, that is left to chance.
    jitter: f64,
}

impl Backoff {
    /// Delays from `first`, doubling up to `longest`, without jitter.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest, jitter: 0.0 }
    }

    /// Shortens each delay by a random part of up to `jitter` of it.
    pub(crate) const fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Takes the current delay, and doubles the next.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.longest);
        if self.jitter == 0.0 { full } else { full.mul_f64(1.0 - self.jitter * seam::fraction()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(35));
        let delays: Vec<_> = (0..4).map(|_| backoff.next_delay().as_millis()).collect();
        assert_eq!(delays, [10, 20, 35, 35]);
    }

    #[test]
    fn jitter_only_shortens_a_delay_and_by_its_part_at_most() {
        for _ in 0..1000 {
            let delay = Backoff::new(Duration::from_millis(100), Duration::MAX).with_jitter(0.5).next_delay();
            assert!((Duration::from_millis(50)..=Duration::from_millis(100)).contains(&delay), "{delay:?}");
        }
    }
}
