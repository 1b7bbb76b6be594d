//! How the command ends when it fails: a line on standard error, and a status.

use std::io::{self, Write};

use distlock_core::LockError;

/// The command line or the URL is wrong (`EX_USAGE` of sysexits).
pub(crate) const USAGE: u8 = 64;
/// The server is not reached, refuses, or is not fit for locks (`EX_UNAVAILABLE`).
pub(crate) const UNAVAILABLE: u8 = 69;
/// The lock was lost, or output could not be written (`EX_IOERR`).
pub(crate) const LOST: u8 = 74;
/// The key is held by another holder (`EX_TEMPFAIL`).
pub(crate) const BUSY: u8 = 75;

/// Why the command ends without having done what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(status: u8, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    pub(crate) fn io(message: impl Into<String>) -> Self {
        Self::new(LOST, message)
    }
}

impl From<LockError> for Failure {
    fn from(error: LockError) -> Self {
        let status = match &error {
            LockError::Busy { .. } => BUSY,
            LockError::Lost { .. } => LOST,
            LockError::InvalidKey { .. } | LockError::InvalidDuration { .. } => USAGE,
            _ => UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

/// Writes a line to standard error. A standard error that is closed is no reason to fail.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "distlock: {line}");
}
