//! Remembers that a server does not answer, so that an outage is logged once.

use std::sync::atomic::{AtomicBool, Ordering};

use super::log;
use crate::error::{StoreError, StoreErrorKind};

/// Whether a server is in an outage, as far as its store knows.
#[derive(Default)]
pub(crate) struct Outage {
    /// The outage was logged. Set by the first failure, cleared by the first answer.
    is_on: AtomicBool,
    /// The server is a node of a quorum, which reports outages by itself.
    is_silent: bool,
}

impl Outage {
    /// For a server whose outages are reported elsewhere.
    pub(crate) fn silent() -> Self {
        Self { is_silent: true, ..Self::default() }
    }

    /// Called when no connection can be made.
    pub(crate) fn no_connection(&self, server: &str, error: &StoreError) {
        if error.is_transient() {
            self.begin(server, error);
        }
    }

    /// Called when a command has failed.
    ///
    /// A broken connection alone is no outage: servers and proxies close idle connections, and the command is
    /// sent again over a new one.
    pub(crate) fn command_failed(&self, server: &str, error: &StoreError) {
        if matches!(error.kind(), StoreErrorKind::TimedOut | StoreErrorKind::ReadOnly) {
            self.begin(server, error);
        }
    }

    /// Called when a command was answered.
    #[inline]
    pub(crate) fn answered(&self, server: &str) {
        if self.is_on.load(Ordering::Relaxed) {
            self.end(server);
        }
    }

    fn begin(&self, server: &str, error: &StoreError) {
        if !self.is_silent && !self.is_on.swap(true, Ordering::Relaxed) {
            log::server_down(server, error);
        }
    }

    #[cold]
    fn end(&self, server: &str) {
        if self.is_on.swap(false, Ordering::Relaxed) {
            log::server_up(server);
        }
    }
}
