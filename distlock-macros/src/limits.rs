//! The limits of `distlock`. This crate cannot name them, so that they are here a second time. A test of
//! `distlock` compares the two.

use std::time::Duration;

/// The shortest ttl.
pub(crate) const MIN_TTL: Duration = Duration::from_millis(10);
/// The longest ttl, and the longest wait that is not `forever`.
pub(crate) const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The longest key.
pub(crate) const MAX_KEY_BYTES: usize = 4096;
