//! The spans of a call. Each has the caller's span as its parent.

use std::time::Duration;

use tracing::{Level, Span, field, level_filters::LevelFilter, span::Entered};

use crate::{key::Key, options::Wait};

/// The target of all events and spans, for filters such as `RUST_LOG=distlock=debug`.
pub(super) const TARGET: &str = "distlock";

/// A span; none if no subscriber wants it. Boxed, so that a lease without it does not grow.
#[derive(Default)]
struct Slot(Option<Box<Span>>);

/// The span from a call to its grant or refusal.
pub(super) struct AcquireSpan(Slot);

/// The span from a grant to the end of the guard. The body runs inside of it.
#[derive(Default)]
pub(crate) struct HoldSpan(Slot);

/// Whether a subscriber or a recorder may want what is reported of each call. It spares readings of the
/// clock.
#[inline]
pub(crate) fn is_heard() -> bool {
    cfg!(feature = "metrics") || may_want_spans()
}

fn may_want_spans() -> bool {
    LevelFilter::current() >= Level::DEBUG
}

impl Slot {
    fn of(span: Span) -> Self {
        Self((!span.is_disabled()).then(|| Box::new(span)))
    }

    fn record(&self, field: &str, value: impl field::Value) {
        if let Some(span) = &self.0 {
            span.record(field, value);
        }
    }

    /// Reports something inside of the span.
    fn in_scope<T>(&self, report: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(span) => span.in_scope(report),
            None => report(),
        }
    }
}

impl AcquireSpan {
    pub(super) fn begin(key: &str, template: &'static str, wait: Wait) -> Self {
        Self(if may_want_spans() { Slot::of(acquire_span(key, template, wait)) } else { Slot::default() })
    }

    /// Records how the acquire has ended, and reports it. Without it, the span says that the call was
    /// dropped.
    pub(super) fn end(&self, outcome: &'static str, report: impl FnOnce()) {
        self.0.record("outcome", outcome);
        self.0.in_scope(report);
    }
}

impl HoldSpan {
    pub(crate) fn begin(key: &Key) -> Self {
        Self(if may_want_spans() { Slot::of(hold_span(key)) } else { Slot::default() })
    }

    /// Enters the span, for one poll of the body.
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        self.0.0.as_deref().map(Span::enter)
    }

    /// Records how long the call has waited.
    pub(super) fn waited(&self, waited: Duration) {
        self.0.record("waited", waited.as_secs_f64());
    }

    /// Records how the lease has ended.
    pub(super) fn end(&self, outcome: &'static str, held: Duration, margin: Duration) {
        self.0.record("outcome", outcome);
        self.0.record("held", held.as_secs_f64());
        self.0.record("margin", margin.as_secs_f64());
    }

    pub(super) fn in_scope(&self, report: impl FnOnce()) {
        self.0.in_scope(report);
    }
}

#[cold]
fn acquire_span(key: &str, template: &'static str, wait: Wait) -> Span {
    let wait = match wait {
        Wait::No => 0.0,
        Wait::UpTo(wait) => wait.as_secs_f64(),
        Wait::Forever => f64::INFINITY,
    };
    tracing::debug_span!(target: TARGET, "distlock.acquire", key, template, wait, outcome = "dropped")
}

#[cold]
fn hold_span(key: &Key) -> Span {
    tracing::debug_span!(
        target: TARGET,
        "distlock.hold",
        key = key.name(),
        template = key.template(),
        waited = field::Empty,
        outcome = field::Empty,
        held = field::Empty,
        margin = field::Empty
    )
}
