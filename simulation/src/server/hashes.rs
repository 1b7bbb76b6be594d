//! The names under which scripts are kept.

use std::{cell::RefCell, sync::Arc};

/// A script's text and its SHA-1.
type Named = (Arc<str>, Arc<str>);

thread_local! {
    /// The scripts that this thread has met. There are a dozen of them.
    static KNOWN: RefCell<Vec<Named>> = RefCell::default();
}

/// The text of a script, shared, and its SHA-1. A thread calculates that of each script once.
///
/// # Panics
/// If the script is not text.
pub(super) fn named(code: &[u8]) -> Named {
    KNOWN.with_borrow_mut(|known| {
        if let Some(named) = known.iter().find(|(known, _)| known.as_bytes() == code) {
            return named.clone();
        }
        let code = std::str::from_utf8(code).expect("scripts are text");
        let named = (Arc::from(code), Arc::from(redis::Script::new(code).get_hash()));
        known.push(named);
        known[known.len() - 1].clone()
    })
}
