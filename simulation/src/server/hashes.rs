//! The names under which scripts are kept.

use std::{cell::RefCell, collections::HashMap};

thread_local! {
    static KNOWN: RefCell<HashMap<String, String>> = RefCell::default();
}

/// The SHA-1 of a script. A thread calculates that of each script once.
pub(super) fn sha1(code: &str) -> String {
    if let Some(hash) = KNOWN.with_borrow(|known| known.get(code).cloned()) {
        return hash;
    }
    let hash = redis::Script::new(code).get_hash().to_owned();
    KNOWN.with_borrow_mut(|known| known.insert(code.to_owned(), hash.clone()));
    hash
}
