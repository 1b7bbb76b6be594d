//! Gauges that do not drift.
//!
//! A recorder that is installed late, or a child of a fork, has not seen every change. So the numbers are
//! kept here, and the recorder is told the number after each change, never the change.

#[cfg(feature = "metrics")]
use std::{
    process,
    sync::{LazyLock, Mutex, PoisonError},
};

#[cfg(feature = "metrics")]
use super::numbers::Numbers;

/// What a gauge counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Gauge {
    LocksHeld,
    CallsThatWait,
}

/// Counts in a gauge until it is dropped.
#[cfg(feature = "metrics")]
pub(crate) struct Gauged {
    series: Series,
    /// The process that it was counted in.
    process: u32,
}

/// Without the feature, nothing is counted.
#[cfg(not(feature = "metrics"))]
pub(crate) struct Gauged;

/// A gauge and its template.
#[cfg(feature = "metrics")]
type Series = (Gauge, &'static str);

#[cfg(feature = "metrics")]
static NUMBERS: LazyLock<Mutex<Numbers<Series>>> = LazyLock::new(Mutex::default);

#[cfg(not(feature = "metrics"))]
impl Gauged {
    pub(crate) fn new(_gauge: Gauge, _template: &'static str) -> Self {
        Self
    }
}

#[cfg(feature = "metrics")]
impl Gauged {
    pub(crate) fn new(gauge: Gauge, template: &'static str) -> Self {
        let gauged = Self { series: (gauge, template), process: process::id() };
        with_numbers(|numbers| numbers.begin(gauged.series, gauged.process, report));
        gauged
    }
}

#[cfg(feature = "metrics")]
impl Drop for Gauged {
    fn drop(&mut self) {
        with_numbers(|numbers| numbers.end(self.series, self.process, process::id(), report));
    }
}

/// The recorder is told under the lock, so that it is told the latest number last.
#[cfg(feature = "metrics")]
fn with_numbers(change: impl FnOnce(&mut Numbers<Series>)) {
    change(&mut NUMBERS.lock().unwrap_or_else(PoisonError::into_inner));
}

#[cfg(feature = "metrics")]
fn report((gauge, template): Series, number: u32) {
    let name = match gauge {
        Gauge::LocksHeld => "distlock_held",
        Gauge::CallsThatWait => "distlock_waiting",
    };
    metrics::gauge!(name, "template" => template).set(f64::from(number));
}
