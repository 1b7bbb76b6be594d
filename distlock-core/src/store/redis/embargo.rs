//! For how long a server must not grant a lease.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{StoreError, StoreErrorKind};

/// From when on a server grants leases again.
#[derive(Clone, Copy)]
pub(super) struct GrantsFrom {
    pub(super) at: Instant,
    pub(super) reason: Reason,
}

/// Why a server does not grant.
#[derive(Clone, Copy)]
pub(super) enum Reason {
    /// It may have lost its data at its start.
    Restart,
    /// The last grants of the primary before it may be missing.
    Failover,
}

impl GrantsFrom {
    /// The error of an acquire that is not sent; `None` if the server grants.
    pub(super) fn refusal(self, now: Instant) -> Option<StoreError> {
        let remaining = self.at.saturating_duration_since(now);
        if remaining.is_zero() {
            return None;
        }
        let detail = match self.reason {
            Reason::Restart => format!(
                "the server was started a short time ago, perhaps without its data, and grants nothing for \
                 another {remaining:.0?} (restart_delay)"
            ),
            Reason::Failover => format!(
                "the server became the primary a short time ago, perhaps without the last grants, and grants \
                 nothing for another {remaining:.0?} (failover_delay)"
            ),
        };
        // It ends by itself.
        Some(StoreError::new(StoreErrorKind::Unavailable, detail).borne_for(Duration::MAX))
    }
}
