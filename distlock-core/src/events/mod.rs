//! What is logged and counted: events and spans by `tracing`, and metrics.
//!
//! - [`log`] has one function for each event. No other room logs.
//! - [`spans`] are the two spans of a call: until it is granted the key, and while it holds it.
//! - [`acquiring`] reports how an acquire ends.
//! - [`metrics`] has the metrics. The functions of [`log`] count too.
//! - [`gauges`] counts what is held and what waits; `numbers` keeps the counts.
//! - [`outage`] remembers that a server does not answer, so that an outage is logged once.
//!
//! With no subscriber, an event and a span each cost the comparison of a level with a static.

mod acquiring;
mod gauges;
mod log;
mod metrics;
#[cfg(feature = "metrics")]
mod numbers;
#[cfg(feature = "redis")]
mod outage;
mod spans;

pub(crate) use acquiring::AcquireReport;
pub(crate) use gauges::{Gauge, Gauged};
#[cfg(any(feature = "axum", feature = "actix-web", feature = "tonic"))]
pub(crate) use log::request_failed;
pub(crate) use log::{
    Hold, acquire_left_to_ttl, broken, fence_not_kept, handed_over, lease_healed, lease_not_healed, lost,
    node_down, node_up, release_failed, release_given_up, released, renewal_failed, renewed, store_failed,
    used_wrongly,
};
pub use log::{function_not_run, function_skipped, function_stopped};
#[cfg(feature = "redis")]
pub(crate) use log::{queues_back, queues_refused, queues_still_refused, server_weak, unknown_queue};
#[cfg(feature = "metrics")]
pub(crate) use metrics::describe;
#[cfg(feature = "redis")]
pub(crate) use outage::Outage;
pub(crate) use spans::{HoldSpan, is_heard};
