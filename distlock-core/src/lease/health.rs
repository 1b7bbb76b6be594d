//! How near a lease was to being lost.

use std::time::Duration;

/// How near a lease was to being lost, as far as this process has measured it anyway: see
/// [`LockGuard::health`](crate::LockGuard::health).
///
/// Leases exclude other holders while pauses are short beside the ttl and clocks run at about the same speed.
/// Here a program sees that fail before two holders overlap.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct LeaseHealth {
    /// The least that was ever left of the lease's validity: when a renewal was confirmed, and now or at the
    /// release. Zero if the lease is lost.
    ///
    /// A lease that is renewed in time keeps about two thirds of its ttl. Close to zero, raise the ttl.
    pub margin: Duration,
    /// The longest pause that was seen: a poll of a body that blocked its thread, or the keeper's task that
    /// woke late because the runtime or the process stood still. A timer is late by a millisecond as a rule.
    ///
    /// Polls of a body that finishes even if its lease is lost are not measured.
    pub longest_pause: Duration,
    /// By how much more time has passed on the server's clock than on this host's, between two fenced grants
    /// of this manager that are up to a minute apart, as a share of that time; negative if less time has
    /// passed. Only what the round trips cannot explain counts, so that it is zero as a rule.
    ///
    /// A lease allows for a hundredth of its ttl and 2 ms, so 0.01 is too much. A step of the server's clock
    /// shows as a large value. `None` without [`fenced`](crate::LockRequest::fenced), for the first such
    /// grant, and where the store's fencing tokens are not its server's clock, as on a quorum.
    pub drift: Option<f64>,
}
