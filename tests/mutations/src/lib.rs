//! distlock's promises, broken one at a time.
//!
//! Each file of `patches/` breaks one promise of docs/guarantees.md, and names the test that has to notice.
//! `cargo test -p mutations` checks that all patches still apply. `cargo run -p mutations` builds each of
//! them in a copy of the sources, runs its test, and writes down which test went red.
//!
//! - [`patch`] reads a patch and its header.
//! - [`guarantees`] reads the promises, and the names of their tests, from docs/guarantees.md.
//! - [`tree`] copies the sources and applies a patch to the copy.
//! - [`run`] builds a broken copy and runs a test.
//! - [`table`] keeps the results.
//! - [`evidence`] writes docs/evidence.md from these and other results.
#![forbid(unsafe_code)]

pub mod evidence;
pub mod guarantees;
pub mod patch;
pub mod run;
pub mod table;
pub mod tree;

use std::path::{Path, PathBuf};

/// The repository's root.
///
/// # Panics
/// If the sources are no longer where this program was built from.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository's root")
}
