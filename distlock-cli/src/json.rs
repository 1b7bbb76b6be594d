//! Objects for programs.

use std::time::{Duration, UNIX_EPOCH};

use distlock_core::{Holder, HolderKind};
use serde_json::{Value, json};

/// A holder as an object. Times are in whole milliseconds, and what is not known is null.
pub(crate) fn holder(holder: &Holder) -> Value {
    let since = holder.since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    json!({
        "key": holder.key,
        "label": holder.label,
        "kind": kind(holder.kind),
        "since_unix_ms": since.map(millis),
        "remaining_ms": holder.remaining.map(millis),
        "waiters": holder.waiters,
        "id": holder.id().map(|id| id.to_string()),
    })
}

/// The name of a kind of holder, for programs and people.
pub(crate) fn kind(kind: HolderKind) -> &'static str {
    match kind {
        HolderKind::Exclusive => "exclusive",
        HolderKind::Foreign => "foreign",
        HolderKind::Divided => "divided",
        _ => "other",
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
