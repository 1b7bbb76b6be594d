//! How a hold ends.

use std::time::Duration;

use super::health::LeaseHealth;

/// The end of a hold.
#[derive(Clone, Copy)]
pub(super) struct Ended {
    pub(super) held: Duration,
    pub(super) health: LeaseHealth,
}

/// How a hold ends.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Ending {
    /// By a release whose answer no caller waits for.
    #[default]
    Background,
    /// By a release that the store has confirmed.
    Confirmed,
    /// By a release that the store did not confirm.
    Unconfirmed,
    /// A waiter of this runtime has the lease.
    HandedOver,
}
