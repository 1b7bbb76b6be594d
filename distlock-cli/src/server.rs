//! The manager of the URL that the user has named.

use distlock_core::{LockManager, LockManagerBuilder};

use crate::failure::{Failure, USAGE, say};

/// Connects to the store that the URL names.
///
/// # Errors
/// [`USAGE`] for a missing URL and one that is not understood, and otherwise what
/// [`connect`](LockManager::connect) reports.
pub(crate) async fn connect(url: Option<&str>) -> Result<LockManager, Failure> {
    make(url)?;
    Ok(builder(url)?.connect().await?)
}

/// The manager of the store that the URL names, of which nothing was asked yet.
///
/// # Errors
/// [`USAGE`] for a missing URL and one that is not understood.
pub(crate) fn make(url: Option<&str>) -> Result<LockManager, Failure> {
    builder(url)?.build().map_err(|error| Failure::new(USAGE, error.to_string()))
}

fn builder(url: Option<&str>) -> Result<LockManagerBuilder, Failure> {
    let missing = "no URL was given; write `--url redis://host`, or set DISTLOCK_URL";
    let url = url.filter(|url| !url.is_empty()).ok_or_else(|| Failure::usage(missing))?;
    Ok(LockManager::builder().url(url))
}

/// Warns of a URL that leads to no server.
pub(crate) fn warn_of_memory(url: Option<&str>) {
    if url.is_some_and(|url| url.starts_with("memory:")) {
        say("`memory://` is the memory of this process: the lock excludes no other process");
    }
}
