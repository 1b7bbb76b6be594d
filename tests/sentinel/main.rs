//! Locks on a server that sentinels fail over, and on one with replicas.

use std::time::Duration;

use distlock::{LockError, LockManager, StoreErrorKind};

mod failover;

/// Longer than a failover takes.
const SOON: Duration = Duration::from_secs(30);
