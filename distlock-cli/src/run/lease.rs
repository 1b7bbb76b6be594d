//! When a command has to be stopped: arithmetic with its lease.

use std::time::Duration;

use tokio::time::Instant;

/// The longest time between SIGTERM and SIGKILL, unless the user sets another.
const LONGEST_GRACE: Duration = Duration::from_secs(5);
/// How long before the end of the lease SIGKILL is sent, unless the grace time is very short.
const MARGIN: Duration = Duration::from_millis(50);
/// How often the lease is looked at: a host that was suspended does not tell.
const LOOK: Duration = Duration::from_millis(250);

/// What has to be done with the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    GoOn,
    /// Ask it to end.
    Terminate,
    /// End it.
    Kill,
}

/// When the command has to be stopped.
pub(super) struct Deadline {
    grace: Duration,
    margin: Duration,
    /// When the lease ends if it is not renewed, as far as was known while it was held.
    ends: Instant,
    /// When the command is killed. Set when it was asked to end.
    kill: Option<Instant>,
    is_killed: bool,
}

impl Deadline {
    /// Of a fresh lease that lasts this long.
    pub(super) fn new(lasts: Duration, grace: Option<Duration>, now: Instant) -> Self {
        // Renewals begin when two thirds are left, and are tried again.
        let grace = grace.unwrap_or(LONGEST_GRACE.min(lasts / 6)).min(lasts / 2);
        Self { grace, margin: MARGIN.min(lasts / 20), ends: now + lasts, kill: None, is_killed: false }
    }

    /// What has to be done now. `remaining` is what is left of the lease, and zero if the lease is lost.
    pub(super) fn step(&mut self, remaining: Duration, now: Instant) -> Step {
        let is_lost = remaining.is_zero();
        if !is_lost {
            self.ends = now + remaining;
        }
        let left = self.ends.saturating_duration_since(now);
        if self.is_killed {
            Step::GoOn
        } else if left <= self.margin || self.kill.is_some_and(|kill| kill <= now) {
            self.is_killed = true;
            Step::Kill
        } else if self.kill.is_none() && (is_lost || left <= self.grace + self.margin) {
            self.kill = Some(now + self.grace.min(left.saturating_sub(self.margin)));
            Step::Terminate
        } else {
            Step::GoOn
        }
    }

    /// When to look at the lease again.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let soonest = match self.kill {
            Some(kill) => kill,
            None => now + self.ends.saturating_duration_since(now).saturating_sub(self.grace + self.margin),
        };
        soonest.min(now + LOOK)
    }

    /// Whether the command was asked to end, or was ended.
    pub(super) fn is_over(&self) -> bool {
        self.kill.is_some() || self.is_killed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_command_goes_on_while_its_lease_is_renewed() {
        let mut now = Instant::now();
        let mut deadline = Deadline::new(30 * S, None, now);
        for _ in 0..100 {
            now += 10 * S;
            assert_eq!(deadline.step(20 * S, now), Step::GoOn);
            assert_eq!(deadline.next(now), now + LOOK);
        }
    }

    #[test]
    fn a_lease_that_is_not_renewed_ends_the_command_before_it_ends() {
        let start = Instant::now();
        let mut deadline = Deadline::new(30 * S, None, start);
        let mut steps = Vec::new();
        let mut now = start;
        while now < start + 30 * S {
            match deadline.step(start + 30 * S - now, now) {
                Step::GoOn => {}
                step => steps.push((step, now - start)),
            }
            now = deadline.next(now).max(now + Duration::from_millis(1));
        }
        let before = |end: Duration| end.saturating_sub(MARGIN);
        assert_eq!(steps, [(Step::Terminate, before(25 * S)), (Step::Kill, before(30 * S))]);
    }

    #[test]
    fn a_lease_that_was_taken_away_leaves_the_grace_time() {
        let start = Instant::now();
        let mut deadline = Deadline::new(30 * S, Some(2 * S), start);
        assert_eq!(deadline.step(30 * S, start), Step::GoOn);
        assert_eq!(deadline.step(Duration::ZERO, start + 10 * S), Step::Terminate);
        assert!(deadline.is_over());
        assert_eq!(deadline.step(Duration::ZERO, start + 11 * S), Step::GoOn);
        assert_eq!(deadline.step(Duration::ZERO, start + 12 * S), Step::Kill);
        assert_eq!(deadline.step(Duration::ZERO, start + 13 * S), Step::GoOn);
    }

    #[test]
    fn a_lease_that_ended_meanwhile_kills_at_once() {
        let start = Instant::now();
        let mut deadline = Deadline::new(30 * S, None, start);
        assert_eq!(deadline.step(Duration::ZERO, start + 31 * S), Step::Kill);
        let mut deadline = Deadline::new(30 * S, None, start);
        assert_eq!(deadline.step(MARGIN, start + 29 * S), Step::Kill);
    }
}
