//! How a check fails: with the sentence of the contract that is broken, and what was seen.

use std::{fmt::Debug, future::Future, time::Duration};

use distlock_core::{Key, OwnerToken, StoreError};

/// The ttl of a lease that is not meant to lapse.
pub(crate) const TTL: Duration = Duration::from_secs(20);

/// How long an operation may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Panics unless the claim holds.
#[track_caller]
pub(crate) fn claim(holds: bool, sentence: &str, seen: impl Debug) {
    assert!(holds, "the store breaks its contract: \"{sentence}\" Seen instead: {seen:?}");
}

/// The answer of an operation, which must neither fail nor hang.
pub(crate) async fn answer<T>(operation: &str, future: impl Future<Output = Result<T, StoreError>>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => panic!("{operation} failed ({:?}): {error}", error.kind()),
        Err(elapsed) => panic!("{operation} was not answered within {PATIENCE:?} ({elapsed})"),
    }
}

/// The keys of one run.
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let mut text = [0; OwnerToken::MAX_BYTES];
        // A token that owns nothing, as a source of random letters, which its end has.
        let letters = &OwnerToken::random().encode(&mut text)[24..36];
        Self { prefix: format!("store-tests-{letters}:") }
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key::new("lock", &format!("{}{name}", self.prefix)).expect("a key within the limits")
    }
}
