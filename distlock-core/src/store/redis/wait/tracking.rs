//! Keys whose changes this process wants to hear of, by the server's client-side caching.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::Value;
use tokio::sync::watch;

use super::super::keys::RedisKey;
use crate::{key::Key, seam::HashMap};

/// The keys that are tracked over one connection at a time.
#[derive(Default)]
pub(super) struct TrackedKeys {
    keys: Mutex<HashMap<Vec<u8>, TrackedKey>>,
}

#[derive(Default)]
struct TrackedKey {
    changes: watch::Sender<()>,
    /// How many [`KeyChanges`] of this key exist. The key is no longer tracked when the last one is dropped.
    subscribers: usize,
}

/// The changes of a key since this was made, or since the last [`reset`](Self::reset).
pub(super) struct KeyChanges {
    tracked: Arc<TrackedKeys>,
    key: Vec<u8>,
    changes: watch::Receiver<()>,
}

impl TrackedKeys {
    pub(super) fn subscribe(self: &Arc<Self>, key: &Key) -> KeyChanges {
        let key = RedisKey::lock(key).to_vec();
        let mut keys = self.keys();
        let tracked = keys.entry(key.clone()).or_default();
        tracked.subscribers += 1;
        KeyChanges { tracked: Arc::clone(self), key, changes: tracked.changes.subscribe() }
    }

    /// Takes the server's message, which lists the keys that have changed, or no key if all may have changed.
    pub(super) fn invalidated(&self, message: &[Value]) {
        let [Value::Array(changed)] = message else { return self.all_invalidated() };
        let keys = self.keys();
        for key in changed {
            if let Value::BulkString(key) = key
                && let Some(tracked) = keys.get(key)
            {
                tracked.changes.send_replace(());
            }
        }
    }

    /// Treats every key as changed.
    pub(super) fn all_invalidated(&self) {
        for tracked in self.keys().values() {
            tracked.changes.send_replace(());
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.keys().is_empty()
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<Vec<u8>, TrackedKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyChanges {
    /// Ends when the key has changed.
    ///
    /// The server tells of a change only if the key was read over the tracking connection after its last
    /// change.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + use<> {
        let mut changes = self.changes.clone();
        async move {
            if changes.changed().await.is_err() {
                // The key is no longer tracked.
                pending::<()>().await;
            }
        }
    }

    /// Forgets the changes until now, because the key is about to be read.
    pub(super) fn reset(&mut self) {
        self.changes.mark_unchanged();
    }
}

impl Drop for KeyChanges {
    fn drop(&mut self) {
        let mut keys = self.tracked.keys();
        if let Some(tracked) = keys.get_mut(&self.key) {
            tracked.subscribers -= 1;
            if tracked.subscribers == 0 {
                keys.remove(&self.key);
            }
        }
    }
}
