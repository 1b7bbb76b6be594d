//! Reports how an acquire ends.

use tokio::time::Instant;

use super::{
    log,
    spans::{AcquireSpan, HoldSpan, is_heard},
};
use crate::{
    error::{LockError, StoreErrorKind},
    key::Key,
    options::Wait,
};

/// The report of one acquire.
pub(crate) struct AcquireReport(AcquireSpan);

impl AcquireReport {
    #[inline]
    pub(crate) fn begin(key: &str, template: &'static str, wait: Wait) -> Self {
        Self(AcquireSpan::begin(key, template, wait))
    }

    /// The key was granted to a call that began at `started`.
    #[inline]
    pub(crate) fn granted(&self, key: &Key, hold: &HoldSpan, started: Instant) {
        if is_heard() {
            let waited = started.elapsed();
            hold.waited(waited);
            self.0.end("granted", || log::granted(key, waited));
        }
    }

    /// The call, which began at `started`, ends without the key.
    #[cold]
    pub(crate) fn refused(&self, error: &LockError, template: &'static str, started: Instant) {
        match error {
            LockError::Busy { .. } => self.0.end("busy", || log::busy(error, template, started.elapsed())),
            LockError::Store { source, .. } if !is_wrong_set_up(source.kind()) => {
                self.0.end("failed", || log::not_acquired(error, template, started.elapsed()));
            }
            _ => self.0.end("failed", || log::used_wrongly(error)),
        }
    }
}

/// Whether only a change of the program or of the server's set-up helps.
fn is_wrong_set_up(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Refused | StoreErrorKind::Unfit | StoreErrorKind::WrongType)
}
