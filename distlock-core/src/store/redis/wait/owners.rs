//! The owner tokens with which this process waits, or may hold a key that it has waited for.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    seam::{self, PerProcess},
    token::OwnerToken,
};

/// With more owners than this, those that were noted long ago are forgotten.
const MANY: usize = 1024;
/// A hand-over that is read later than this belongs to no connection that is still in use.
const LONG: Duration = Duration::from_secs(600);

/// One record for the whole process: a lease may be released in another runtime than the one that waited.
static OWNERS: PerProcess<Owners> = PerProcess::new(Owners::new);

struct Owners {
    /// The child of a fork has its parent's record, which says nothing about the child.
    process: u32,
    noted: Mutex<Noted>,
}

struct Noted {
    /// When each owner was noted last.
    owners: HashMap<OwnerToken, Instant>,
    /// How many owners there may be before old ones are looked for.
    limit: usize,
}

/// Notes an owner before the server can hand it a key.
pub(super) fn note(owner: &OwnerToken) {
    OWNERS.with(|owners| owners.note(owner, Instant::now()));
}

/// Forgets an owner whose release is being sent: nothing runs under its lease any more.
pub(super) fn drop_note(owner: &OwnerToken) {
    OWNERS.with(|owners| owners.noted().owners.remove(owner));
}

/// Whether it is certain that nothing in this process waits with this owner token, or holds a key with it.
pub(super) fn is_unknown(owner: &OwnerToken) -> bool {
    OWNERS.with(|owners| owners.process == seam::process_id() && !owners.noted().owners.contains_key(owner))
}

impl Owners {
    fn new() -> Self {
        let noted = Mutex::new(Noted { owners: HashMap::new(), limit: MANY });
        Self { process: seam::process_id(), noted }
    }

    fn note(&self, owner: &OwnerToken, now: Instant) {
        let mut noted = self.noted();
        noted.owners.insert(*owner, now);
        // A lease that is left to its ttl is never released.
        if noted.owners.len() > noted.limit {
            noted.owners.retain(|_, at| now.saturating_duration_since(*at) < LONG);
            noted.limit = MANY.max(noted.owners.len() * 2);
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_known_until_it_is_forgotten() {
        let owner = OwnerToken::random();
        assert!(is_unknown(&owner));
        note(&owner);
        assert!(!is_unknown(&owner));
        drop_note(&owner);
        assert!(is_unknown(&owner));
    }

    #[test]
    fn owners_that_are_never_released_do_not_pile_up() {
        let (owners, mut now) = (Owners::new(), Instant::now());
        for _ in 0..10 * MANY {
            owners.note(&OwnerToken::random(), now);
            now += LONG / 100;
        }
        assert!(owners.noted().owners.len() <= 2 * MANY);
    }
}
