//! Checks of how distlock is written and documented: what its compiler does not check.
//!
//! - [`map`] reads the map of the core's rooms, and [`arrows`] checks that each room uses only the rooms
//!   below it.
//! - [`circles`] checks that the files of a room do not use each other in a circle.
//! - [`words`] checks that no item is defined with a word that has been replaced.
//! - [`sizes`] checks the length of files and the width of comments.
//! - [`scripts`] checks the Lua scripts, by the tokens of [`lua`].
//! - [`messages`] checks that the page of messages has all of them, and [`pages`] checks the links of pages.
//! - [`events`] compares the events in the source with the table of them.
//! - [`metrics`] finds the names of metrics, in the source and where they are used.
//! - [`public_api`] lists the public interface of a crate, and [`packages`] checks what is published.
//!
//! Each check takes sources and answers complaints: sentences with file, line, and what to do.
//! The files in `tests/` run the checks over the repository. The unit tests here run them over planted
//! mistakes.
#![forbid(unsafe_code)]

pub mod arrows;
pub mod circles;
pub mod events;
pub mod lua;
pub mod map;
pub mod messages;
pub mod metrics;
pub mod modules;
pub mod packages;
pub mod pages;
pub mod paths;
pub mod public_api;
pub mod scripts;
pub mod sizes;
pub mod words;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Source files by their path from the crate's `src`, as `store/mod.rs`.
pub type Sources = BTreeMap<String, String>;

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads the files below a folder whose names end in `.extension`.
///
/// # Panics
/// If a file cannot be read.
#[must_use]
pub fn read(folder: &Path, extension: &str) -> Sources {
    let mut sources = Sources::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display()));
        for path in entries.map(|entry| entry.expect("an entry of a folder").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let name = path.strip_prefix(folder).expect("a file below the folder");
                let text =
                    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", name.display()));
                sources.insert(name.to_string_lossy().replace('\\', "/"), text);
            }
        }
    }
    sources
}

/// Sources for unit tests.
#[cfg(test)]
fn planted(files: &[(&str, &str)]) -> Sources {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}
