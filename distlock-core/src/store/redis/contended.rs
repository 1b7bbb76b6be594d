//! The keys that were found held a short time ago.

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

/// How long a key that was found held counts as contended.
const LATELY: Duration = Duration::from_secs(5);
/// How many keys are remembered at the most.
const MOST_KEYS: usize = 1024;

/// The keys that were found held a short time ago.
///
/// A call for such a key expects to be refused again, and sends in its first round trip what a refused call
/// needs. Nothing else depends on it, so the list may forget a key at any time.
#[derive(Default)]
pub(super) struct ContendedKeys {
    /// Whether there may be any: without contended keys a call takes no lock and reads no clock. Set by each
    /// note, cleared by the first call after the latest note has lapsed.
    any: AtomicBool,
    found_held: Mutex<FoundHeld>,
}

#[derive(Default)]
struct FoundHeld {
    /// When each key was last found held.
    keys: HashMap<Key, Instant>,
    /// The latest of these instants.
    latest: Option<Instant>,
}

impl ContendedKeys {
    /// Notes that the key was found held.
    pub(super) fn note(&self, key: &Key, now: Instant) {
        let mut found = self.found_held();
        if found.keys.len() >= MOST_KEYS {
            found.keys.retain(|_, at| is_lately(*at, now));
            if found.keys.len() >= MOST_KEYS {
                found.keys.clear();
            }
        }
        found.keys.insert(key.clone(), now);
        found.latest = Some(now);
        self.any.store(true, Ordering::Relaxed);
    }

    /// Whether the key was found held a short time ago.
    pub(super) fn contains(&self, key: &Key, now: impl FnOnce() -> Instant) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let (now, mut found) = (now(), self.found_held());
        if found.latest.is_none_or(|at| !is_lately(at, now)) {
            *found = FoundHeld::default();
            self.any.store(false, Ordering::Relaxed);
        }
        found.keys.get(key).is_some_and(|at| is_lately(*at, now))
    }

    fn found_held(&self) -> MutexGuard<'_, FoundHeld> {
        self.found_held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_lately(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < LATELY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: usize) -> Key {
        Key::new("lock", &name.to_string()).unwrap()
    }

    #[test]
    fn a_key_is_contended_for_five_seconds_after_it_was_found_held() {
        let (contended, now) = (ContendedKeys::default(), Instant::now());
        assert!(!contended.contains(&key(1), || panic!("the clock is read only where it is needed")));
        contended.note(&key(1), now);
        let just_before = now + LATELY - Duration::from_millis(1);
        assert!(contended.contains(&key(1), || just_before) && !contended.contains(&key(2), || just_before));
        assert!(!contended.contains(&key(1), || now + LATELY));
        assert!(!contended.contains(&key(1), || panic!("no key is left")));
    }

    #[test]
    fn the_number_of_remembered_keys_is_bounded() {
        let (contended, now) = (ContendedKeys::default(), Instant::now());
        for number in 0..10 * MOST_KEYS {
            contended.note(&key(number), now);
            assert!(contended.contains(&key(number), || now));
        }
        assert!(contended.found_held().keys.len() <= MOST_KEYS);
    }
}
