//! Standard output.

use std::io::{self, Write};

use crate::failure::Failure;

/// Writes a text to standard output.
///
/// # Errors
/// A failure that says why nothing can be written, for instance because the reader has gone.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::io(format!("standard output cannot be written: {error}")))
}
