//! Keys whose changes somebody wants to hear of, as the server tells them by client-side caching.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::Value;
use tokio::sync::watch;

use crate::key::Key;

/// The keys that are watched over one connection at a time.
#[derive(Default)]
pub(super) struct TrackedKeys {
    keys: Mutex<HashMap<Vec<u8>, Changes>>,
}

#[derive(Default)]
struct Changes {
    told: watch::Sender<()>,
    watches: usize,
}

/// Hears of a key's changes from when it was made or last [saw](Self::see) it.
pub(super) struct KeyChanges {
    watched: Arc<TrackedKeys>,
    key: Vec<u8>,
    changes: watch::Receiver<()>,
}

impl TrackedKeys {
    pub(super) fn watch(self: &Arc<Self>, key: &Key) -> KeyChanges {
        let key = key.as_str().as_bytes().to_owned();
        let mut keys = self.keys();
        let of_key = keys.entry(key.clone()).or_default();
        of_key.watches += 1;
        KeyChanges { watched: Arc::clone(self), key, changes: of_key.told.subscribe() }
    }

    /// Takes the server's message: which keys have changed; all, where it has thrown away everything.
    pub(super) fn changed(&self, message: &[Value]) {
        let [Value::Array(changed)] = message else { return self.all_changed() };
        let keys = self.keys();
        for key in changed {
            if let Value::BulkString(key) = key
                && let Some(of_key) = keys.get(key)
            {
                of_key.told.send_replace(());
            }
        }
    }

    pub(super) fn all_changed(&self) {
        for of_key in self.keys().values() {
            of_key.told.send_replace(());
        }
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Changes>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyChanges {
    /// Ends when the key has changed, which the server tells only if it was read since it last changed.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + use<> {
        let mut changes = self.changes.clone();
        async move {
            if changes.changed().await.is_err() {
                // CallerConnection up meanwhile.
                pending::<()>().await;
            }
        }
    }

    /// What has changed until now is of no interest.
    pub(super) fn see(&mut self) {
        self.changes.mark_unchanged();
    }
}

impl Drop for KeyChanges {
    fn drop(&mut self) {
        let mut keys = self.watched.keys();
        if let Some(of_key) = keys.get_mut(&self.key) {
            of_key.watches -= 1;
            if of_key.watches == 0 {
                keys.remove(&self.key);
            }
        }
    }
}
