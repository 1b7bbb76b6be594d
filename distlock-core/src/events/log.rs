//! The events, one function each. `docs/operations.md` has the table of them.
//!
//! Durations are in seconds. A key is given as the caller wrote it, and no owner token and no password ever.

use std::{fmt::Display, time::Duration};

use super::{
    metrics,
    spans::{HoldSpan, TARGET},
};
use crate::{
    error::{LockError, LostReason, StoreError},
    key::Key,
};

#[cold]
pub(super) fn granted(key: &Key, waited: Duration) {
    metrics::acquired(key.template(), waited);
    let (key, template, waited) = (key.name(), key.template(), waited.as_secs_f64());
    tracing::debug!(target: TARGET, key, template, waited, "lock granted");
}

pub(super) fn busy(error: &LockError, template: &'static str, waited: Duration) {
    metrics::busy(template);
    let (key, waited) = (error.key(), waited.as_secs_f64());
    tracing::debug!(target: TARGET, key, template, waited, "lock busy");
}

pub(super) fn not_acquired(error: &LockError, template: &'static str, waited: Duration) {
    let (key, waited) = (error.key(), waited.as_secs_f64());
    tracing::debug!(target: TARGET, key, template, waited, %error, "lock not acquired");
}

/// Only a change of the program or of the set-up helps.
pub(crate) fn used_wrongly(error: &LockError) {
    tracing::error!(target: TARGET, key = error.key(), %error, "a lock is used or configured in a wrong way");
}

/// A response of a web framework says that the service is at fault.
#[cfg(any(feature = "axum", feature = "actix-web", feature = "tonic"))]
pub(crate) fn request_failed(error: &LockError) {
    tracing::error!(
        target: TARGET,
        key = error.key(),
        %error,
        "a request failed at a lock that is used or configured in a wrong way"
    );
}

/// `on_busy` answers for a function, because another holder has the key.
pub fn function_skipped(error: &LockError, template: &'static str) {
    tracing::info!(target: TARGET, key = error.key(), template, "call skipped: the lock is busy");
}

/// `on_error = log` answers for a function.
pub fn function_not_run(error: &LockError) {
    tracing::error!(target: TARGET, key = error.key(), %error, "a locked function did not run to its end");
}

/// A body that was to run to its end was stopped: a fault of this library.
pub fn function_stopped(error: &LockError) {
    tracing::error!(target: TARGET, key = error.key(), %error, "a body with `on_lost = finish` was stopped");
}

/// A waiter has the key from a holder of this process, whose release began `took` ago.
pub(crate) fn handed_over(key: &Key, took: Option<Duration>) {
    if let Some(took) = took {
        metrics::handed_over(key.template(), took);
    }
    let (key, template, took) = (key.name(), key.template(), took.map(|took| took.as_secs_f64()));
    tracing::debug!(target: TARGET, key, template, took, "lock handed over");
}

/// How a lease was held.
pub(crate) struct Hold {
    pub(crate) outcome: &'static str,
    pub(crate) held: Duration,
    /// The least that was left of the validity.
    pub(crate) margin: Duration,
    pub(crate) longest_pause: Duration,
    pub(crate) drift: Option<f64>,
}

/// A guard has ended.
#[cold]
pub(crate) fn released(key: &Key, span: &HoldSpan, hold: &Hold) {
    let Hold { outcome, held, margin, longest_pause, drift } = *hold;
    metrics::released(key.template(), held, margin);
    span.end(outcome, held, margin);
    let (key, template) = (key.name(), key.template());
    let (held, margin, longest_pause) =
        (held.as_secs_f64(), margin.as_secs_f64(), longest_pause.as_secs_f64());
    span.in_scope(|| {
        tracing::debug!(target: TARGET, key, template, outcome, held, margin, longest_pause, drift, "lock released");
    });
}

#[cold]
pub(crate) fn lost(key: &Key, span: &HoldSpan, reason: LostReason) {
    metrics::lost(key.template(), reason);
    let (key, template) = (key.name(), key.template());
    span.in_scope(|| tracing::warn!(target: TARGET, key, template, %reason, "lock lost"));
}

/// This process has broken the lock of the owner with this label.
pub(crate) fn broken(key: &Key, holder: &str) {
    tracing::warn!(target: TARGET, key = key.name(), holder, "lock broken: its holder is not told yet");
}

/// A renewal was confirmed.
pub(crate) fn renewed(key: &Key) {
    metrics::renewed(key.template());
}

/// A command to the store has failed. It is counted only: what comes of it is reported.
pub(crate) fn store_failed(key: &Key, error: &StoreError) {
    metrics::store_error(key.template(), error.kind());
}

pub(crate) fn renewal_failed(key: &Key, error: &StoreError) {
    store_failed(key, error);
    let (key, template) = (key.name(), key.template());
    tracing::debug!(target: TARGET, key, template, %error, "renewal failed, trying again");
}

pub(crate) fn fence_not_kept(key: &Key, error: &StoreError) {
    let (key, template) = (key.name(), key.template());
    tracing::debug!(target: TARGET, key, template, %error, "the fencing counter was not told to last");
}

pub(crate) fn release_failed(key: &Key, error: &LockError) {
    let (key, template) = (key.name(), key.template());
    tracing::warn!(target: TARGET, key, template, %error, "release failed, trying again");
}

/// A lease is left to its ttl.
pub(crate) fn release_given_up(key: &Key, cause: &dyn Display) {
    metrics::release_failed(key.template());
    let (key, template) = (key.name(), key.template());
    tracing::warn!(target: TARGET, key, template, %cause, "lock not released: it ends with its ttl");
}

/// An acquire whose outcome is unknown is left to its ttl.
pub(crate) fn acquire_left_to_ttl(key: &Key, error: &StoreError) {
    let (key, template) = (key.name(), key.template());
    tracing::debug!(target: TARGET, key, template, %error, "an acquire without an answer is left to its ttl");
}

#[cfg(feature = "redis")]
pub(super) fn server_down(server: &str, error: &StoreError) {
    tracing::warn!(target: TARGET, server, %error, "the server does not answer");
}

#[cfg(feature = "redis")]
pub(super) fn server_up(server: &str) {
    tracing::info!(target: TARGET, server, "the server answers again");
}

#[cfg(feature = "redis")]
pub(crate) fn server_weak(server: &str, finding: &str) {
    tracing::warn!(target: TARGET, server, finding, "the server weakens a promise");
}

pub(crate) fn node_down(node: &str, error: &StoreError) {
    tracing::warn!(target: TARGET, node, %error, "a node of the quorum does not answer; skipping it");
}

pub(crate) fn node_up(node: &str) {
    tracing::info!(target: TARGET, node, "the node of the quorum answers again");
}

pub(crate) fn lease_healed(key: &Key, node: &str) {
    tracing::debug!(target: TARGET, node, key = key.name(), template = key.template(), "lease healed");
}

pub(crate) fn lease_not_healed(key: &Key, node: &str, error: &StoreError) {
    let (key, template) = (key.name(), key.template());
    tracing::debug!(target: TARGET, node, key, template, %error, "lease not healed");
}

#[cfg(feature = "redis")]
pub(crate) fn queues_refused(error: &StoreError, pause: Duration) {
    let again_in = pause.as_secs_f64();
    tracing::warn!(target: TARGET, %error, again_in, "the server has no wait queues for now: waiters poll");
}

#[cfg(feature = "redis")]
pub(crate) fn queues_still_refused(error: &StoreError, pause: Duration) {
    let again_in = pause.as_secs_f64();
    tracing::debug!(target: TARGET, %error, again_in, "the server still has no wait queues");
}

#[cfg(feature = "redis")]
pub(crate) fn queues_back() {
    tracing::info!(target: TARGET, "the server has wait queues again");
}

#[cfg(feature = "redis")]
pub(crate) fn unknown_queue(key: &Key) {
    tracing::warn!(
        target: TARGET,
        key = key.name(),
        template = key.template(),
        "a wait queue has an unknown format, perhaps of another version of distlock: its waiters poll"
    );
}
