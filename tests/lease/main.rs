//! A lease excludes all others while it lasts, and its holder learns of its loss.

use std::{future::Future, time::Duration};

use distlock::{LockError, LostReason};
use test_support::in_time;

mod auto_traits;
mod between_polls;
mod blocking;
mod durations;
mod fencing_counters;
mod holders;
mod loss;
mod mutual_exclusion;
mod nesting;
mod renewal;

const SOON: Duration = Duration::from_secs(5);
/// Longer than anything that a test with a paused clock waits for.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns how a call lost its lease, which it must report within a time.
async fn lost(within: Duration, call: impl Future<Output = Result<(), LockError>>) -> LostReason {
    match in_time(within, call).await {
        Err(LockError::Lost { reason, .. }) => reason,
        other => panic!("expected a lost lock, not {other:?}"),
    }
}
