//! The metrics, by the facade `metrics`. Without the feature they cost nothing.
//!
//! `docs/operations.md` has the table of them. Each has the label `template`.

use std::time::Duration;

use crate::error::{LostReason, StoreErrorKind};

pub(super) fn acquired(template: &'static str, waited: Duration) {
    count("distlock_acquired_total", template, None);
    record("distlock_wait_seconds", template, waited);
}

pub(super) fn busy(template: &'static str) {
    count("distlock_busy_total", template, None);
}

pub(super) fn lost(template: &'static str, reason: LostReason) {
    let reason = match reason {
        LostReason::Expired => "expired",
        LostReason::NotOwner => "not_owner",
        LostReason::MaxHold => "max_hold",
        LostReason::Shutdown => "shutdown",
    };
    count("distlock_lost_total", template, Some(("reason", reason)));
}

pub(super) fn store_error(template: &'static str, kind: StoreErrorKind) {
    let kind = match kind {
        StoreErrorKind::Unreachable => "unreachable",
        StoreErrorKind::Disconnected => "disconnected",
        StoreErrorKind::TimedOut => "timed_out",
        StoreErrorKind::Unavailable => "unavailable",
        StoreErrorKind::ReadOnly => "read_only",
        StoreErrorKind::Refused => "refused",
        StoreErrorKind::Unfit => "unfit",
        StoreErrorKind::WrongType => "wrong_type",
        StoreErrorKind::Nonsense => "nonsense",
        StoreErrorKind::TooLate => "too_late",
        StoreErrorKind::NoQuorum => "no_quorum",
        StoreErrorKind::NotReplicated => "not_replicated",
        // The program ends: no fault of the store.
        StoreErrorKind::ShutDown => return,
    };
    count("distlock_store_errors_total", template, Some(("kind", kind)));
}

pub(super) fn release_failed(template: &'static str) {
    count("distlock_releases_failed_total", template, None);
}

pub(super) fn renewed(template: &'static str) {
    count("distlock_renewals_total", template, None);
}

pub(super) fn handed_over(template: &'static str, took: Duration) {
    record("distlock_hand_over_seconds", template, took);
}

pub(super) fn released(template: &'static str, held: Duration, margin: Duration) {
    record("distlock_hold_seconds", template, held);
    record("distlock_margin_seconds", template, margin);
}

#[cfg(feature = "metrics")]
fn count(name: &'static str, template: &'static str, label: Option<(&'static str, &'static str)>) {
    let counter = if let Some((label, value)) = label {
        metrics::counter!(name, "template" => template, label => value)
    } else {
        metrics::counter!(name, "template" => template)
    };
    counter.increment(1);
}

#[cfg(not(feature = "metrics"))]
fn count(_name: &'static str, _template: &'static str, _label: Option<(&'static str, &'static str)>) {}

#[cfg(feature = "metrics")]
fn record(name: &'static str, template: &'static str, duration: Duration) {
    metrics::histogram!(name, "template" => template).record(duration.as_secs_f64());
}

#[cfg(not(feature = "metrics"))]
fn record(_name: &'static str, _template: &'static str, _duration: Duration) {}

/// Tells the recorder, if one is installed, what the metrics mean.
#[cfg(feature = "metrics")]
pub(crate) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

    describe_counter!("distlock_acquired_total", "Locks that were granted.");
    describe_counter!("distlock_busy_total", "Calls that ended because another holder had the key.");
    describe_counter!("distlock_lost_total", "Locks that were lost under their bodies or guards.");
    describe_counter!("distlock_store_errors_total", "Commands to the store that failed.");
    describe_counter!("distlock_releases_failed_total", "Locks that were left to their ttl.");
    describe_counter!("distlock_renewals_total", "Renewals that were confirmed.");
    describe_histogram!("distlock_wait_seconds", Unit::Seconds, "From the call to the grant.");
    describe_histogram!("distlock_hold_seconds", Unit::Seconds, "From the grant to the end of the guard.");
    describe_histogram!("distlock_hand_over_seconds", Unit::Seconds, "From a release to its waiter's grant.");
    describe_histogram!("distlock_margin_seconds", Unit::Seconds, "The least that was left of the lease.");
    describe_gauge!("distlock_held", "Locks that are held.");
    describe_gauge!("distlock_waiting", "Calls with `wait` that have yet to be granted their key.");
}
