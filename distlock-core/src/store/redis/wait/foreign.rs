//! The keys of this process that other libraries take too.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::key::Key;

/// How long the server's word counts that other libraries take a key too. It is `SEEN_FOR` in `foreign.lua`.
const SEEN_FOR: Duration = Duration::from_secs(10);

/// The keys of which the server said lately that other libraries take them too.
///
/// Waiters of such a key ask again and again, because no release of another library tells them anything.
/// Newcomers ask by the script that knows for how long a free key is left to the other libraries.
#[derive(Default)]
pub(super) struct ForeignKeys {
    /// Whether there may be any: a key without other libraries costs no lock. Set and cleared with `keys`.
    any: AtomicBool,
    keys: Mutex<HashMap<Key, Noted>>,
}

struct Noted {
    ask_every: Duration,
    until: Instant,
}

impl ForeignKeys {
    /// Notes the server's word: how often to ask for the key, or `None` if it saw no other library lately.
    pub(super) fn note(&self, key: &Key, ask_every: Option<Duration>, now: impl FnOnce() -> Instant) {
        if ask_every.is_none() && !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut keys = self.keys();
        match ask_every {
            Some(ask_every) => {
                let now = now();
                // Only an answer for the same key replaces a note, and the key may never be asked for again.
                keys.retain(|_, noted| now < noted.until);
                keys.insert(key.clone(), Noted { ask_every, until: now + SEEN_FOR });
            }
            None => _ = keys.remove(key),
        }
        self.any.store(!keys.is_empty(), Ordering::Relaxed);
    }

    /// How often to ask for the key; `None` if no other library is known to take it.
    pub(super) fn ask_every(&self, key: &Key, now: impl FnOnce() -> Instant) -> Option<Duration> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let now = now();
        self.keys().get(key).filter(|noted| now < noted.until).map(|noted| noted.ask_every)
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<Key, Noted>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_foreign_until_the_server_says_otherwise_or_says_nothing_for_ten_seconds() {
        let (foreign, key) = (ForeignKeys::default(), Key::new("lock", "k").unwrap());
        let (now, every) = (Instant::now(), Some(Duration::from_millis(5)));
        foreign.note(&key, None, || now);
        assert_eq!(foreign.ask_every(&key, || now), None);
        foreign.note(&key, every, || now);
        assert_eq!(foreign.ask_every(&key, || now + SEEN_FOR - Duration::from_millis(1)), every);
        assert_eq!(foreign.ask_every(&key, || now + SEEN_FOR), None);
        assert_eq!(foreign.ask_every(&Key::new("lock", "other").unwrap(), || now), None);
        foreign.note(&key, None, || now);
        assert_eq!(foreign.ask_every(&key, || now), None);
    }

    #[test]
    fn keys_that_are_never_asked_for_again_do_not_pile_up() {
        let (foreign, now) = (ForeignKeys::default(), Instant::now());
        for number in 0..100 {
            let key = Key::new("lock", &number.to_string()).unwrap();
            foreign.note(&key, Some(Duration::ZERO), || now + SEEN_FOR * number);
        }
        assert_eq!(foreign.keys().len(), 1);
    }
}
