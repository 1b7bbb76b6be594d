//! An owner of a key, or one who would like to be.

use std::time::Duration;

use distlock_core::{Acquired, FencingToken, Holder, Key, OwnerToken, Store};

use crate::claim::{TTL, answer, claim};

/// One owner token and the key that it is used for.
#[derive(Clone)]
pub(crate) struct Owner<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) key: Key,
    pub(crate) token: OwnerToken,
}

impl<'a> Owner<'a> {
    pub(crate) fn new(store: &'a dyn Store, key: &Key) -> Self {
        Self { store, key: key.clone(), token: OwnerToken::random() }
    }

    pub(crate) async fn acquire(&self, ttl: Duration) -> Acquired {
        answer("acquire", self.store.acquire(&self.key, &self.token, ttl, false)).await
    }

    /// Acquires the key, which is free.
    pub(crate) async fn take(&self, ttl: Duration) {
        let acquired = self.acquire(ttl).await;
        let granted = matches!(acquired, Acquired::Granted { .. });
        claim(
            granted,
            "Takes the key for `ttl` if it is free, or answers what is left of the holder's lease.",
            acquired,
        );
    }

    pub(crate) async fn acquire_fenced(&self) -> Acquired {
        answer("a fenced acquire", self.store.acquire(&self.key, &self.token, TTL, true)).await
    }

    /// Acquires the key, which is free or the owner's, with a fencing token.
    pub(crate) async fn take_fenced(&self) -> FencingToken {
        match self.acquire_fenced().await {
            Acquired::Granted { fence: Some(fence), .. } => fence,
            other => {
                claim(false, "The fencing token, if the acquire asked for one.", other);
                unreachable!("the claim has failed")
            }
        }
    }

    pub(crate) async fn renew(&self, ttl: Duration) -> bool {
        answer("renew", self.store.renew(&self.key, &self.token, ttl)).await
    }

    pub(crate) async fn release(&self) -> bool {
        answer("release", self.store.release(&self.key, &self.token)).await
    }

    /// Releases the key, which the owner holds.
    pub(crate) async fn give_back(&self) {
        claim(self.release().await, "Ends the owner's lease.", "false, although the owner holds the key");
    }

    pub(crate) async fn holder(&self) -> Option<Holder> {
        answer("inspect", self.store.inspect(&self.key)).await
    }

    /// Checks that nobody holds the key.
    pub(crate) async fn is_free(&self, sentence: &str) {
        let holder = self.holder().await;
        claim(holder.is_none(), sentence, holder);
    }

    /// What is left of the lease of whoever holds the key.
    pub(crate) async fn remaining(&self) -> Duration {
        let holder = self.holder().await;
        let remaining = holder.as_ref().and_then(|holder| holder.remaining);
        claim(remaining.is_some(), "Answers the key's holder; `None` if the key is free.", holder);
        remaining.unwrap_or_default()
    }
}
