//! The waiters of one runtime that the server, or a release in this process, may hand a key to.
//!
//! A waiter is registered before the server can know of it, so that no hand-over finds it missing. It stays
//! registered until it holds the key or its release has ended. Until then a hand-over that comes too late is
//! recognised and released again. Otherwise the other waiters would wait until that lease lapses.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};

use super::{
    owners,
    tracking::{KeyChanges, TrackedKeys},
};
use crate::{
    clock::Moment,
    key::Key,
    seam::{self, Counted, HashMap},
    store::{HandOver, Hint},
    token::OwnerToken,
};

/// How long the message of a hand-over may arrive after the message that the key has changed, which it is the
/// cause of.
const MESSAGE_DELAY: Duration = Duration::from_millis(5);
/// The shortest time between two questions that a waiter asks because its key has changed.
const BETWEEN_CHECKS: Duration = Duration::from_secs(1);

/// The registered waiters of one runtime.
#[derive(Default)]
pub(super) struct Registry {
    registrations: Mutex<HashMap<OwnerToken, Registration>>,
    tracked: Arc<TrackedKeys>,
}

struct Registration {
    key: Key,
    state: State,
    /// Wakes the waiter's [`hint`](Registry::hint): it has a lease, or has to ask.
    wake: Arc<Notify>,
    changes: KeyChanges,
    /// A change of the key wakes the waiter no earlier than this. Set by each hint that ended because of a
    /// change.
    next_check: Option<Instant>,
    /// Whether the waiter is the first in its queue, and its key has to be watched. Set by
    /// [`enqueued`](Registry::enqueued), cleared by [`is_watched`](Registry::is_watched).
    to_watch: bool,
    /// Releases under way that name this waiter: counted up by [`begin_direct`](Registry::begin_direct), down
    /// by [`end_direct`](Registry::end_direct). The registration stays until they have ended.
    direct: u32,
    _counted: Counted<{ seam::REGISTRATIONS }>,
}

/// How far a registered waiter has come. Only [`register`](Registry::register) goes back to the first state.
enum State {
    /// It waits. A message or a direct hand-over sets the lease, and [`hint`](Registry::hint) takes it.
    Registered { handed_over: Option<HandOver> },
    /// It holds the key. Set by [`granted`](Registry::granted).
    Granted,
    /// Its release was sent, or it is not in the wait queue: a hand-over is released again. Set by
    /// [`release_sent`](Registry::release_sent) and [`unregister`](Registry::unregister).
    Withdrawn,
}

/// What has become of a release that names a waiter.
pub(super) enum DirectOutcome {
    /// Nothing, or it is not known: the waiter has to ask.
    Unknown,
    /// The waiter is in the wait queue.
    Queued,
    /// The waiter has the key.
    HandedOver(HandOver),
}

/// What has become of a hand-over that was told to the registry.
#[must_use]
pub(super) enum Delivery {
    Done,
    /// The waiter was withdrawn before, or is unknown to this process: the key has to be released again.
    Unwanted(Key),
}

impl Registry {
    /// The keys whose changes wake the waiters.
    pub(super) fn tracked(&self) -> &Arc<TrackedKeys> {
        &self.tracked
    }

    /// Registers a waiter that is about to ask. Earlier changes of its key no longer count.
    pub(super) fn register(&self, key: &Key, owner: &OwnerToken) {
        owners::note(owner);
        let mut registrations = self.lock();
        let registration = registrations.entry(*owner).or_insert_with(|| Registration {
            key: key.clone(),
            state: State::Registered { handed_over: None },
            wake: Arc::default(),
            changes: self.tracked.subscribe(key),
            next_check: None,
            to_watch: false,
            direct: 0,
            _counted: Counted::default(),
        });
        if !registration.is_waiting() {
            registration.state = State::Registered { handed_over: None };
        }
        registration.changes.reset();
    }

    /// Whether the owner is registered and does not hold the key.
    pub(super) fn is_registered(&self, owner: &OwnerToken) -> bool {
        self.lock().get(owner).is_some_and(Registration::is_waiting)
    }

    /// Called when the waiter is in the wait queue, perhaps as the first.
    pub(super) fn enqueued(&self, owner: &OwnerToken, is_first: bool) {
        if let Some(registration) = self.lock().get_mut(owner) {
            registration.to_watch = is_first;
        }
    }

    /// The key of a waiter that is the first in its queue, if the key is not watched yet.
    pub(super) fn key_to_watch(&self, owner: &OwnerToken) -> Option<Key> {
        let registrations = self.lock();
        registrations.get(owner).filter(|registration| registration.to_watch).map(|first| first.key.clone())
    }

    /// Called when the waiter's key is watched.
    pub(super) fn is_watched(&self, owner: &OwnerToken) {
        self.enqueued(owner, false);
    }

    /// Called when the owner holds the key.
    pub(super) fn granted(&self, owner: &OwnerToken) {
        self.end(owner, State::Granted);
    }

    /// Called when the owner's release is sent.
    pub(super) fn release_sent(&self, owner: &OwnerToken) {
        owners::drop_note(owner);
        if let Some(registration) = self.lock().get_mut(owner) {
            registration.state = State::Withdrawn;
        }
    }

    /// Called when the owner's release has ended, or when the owner turned out not to be in the wait queue.
    pub(super) fn unregister(&self, owner: &OwnerToken) {
        self.end(owner, State::Withdrawn);
    }

    fn end(&self, owner: &OwnerToken, state: State) {
        let mut registrations = self.lock();
        if let Some(registration) = registrations.get_mut(owner) {
            registration.state = state;
            if registration.direct == 0 {
                registrations.remove(owner);
            }
        }
    }

    /// Takes a hand-over of the key that the server told of. Without a `lease` the waiter has to ask.
    pub(super) fn deliver(&self, key: &Key, owner: &OwnerToken, lease: Option<HandOver>) -> Delivery {
        match self.lock().get_mut(owner).map(|registration| (&mut registration.state, &registration.wake)) {
            Some((State::Withdrawn, _)) => Delivery::Unwanted(key.clone()),
            Some((State::Registered { handed_over }, wake)) => {
                *handed_over = lease.or(handed_over.take());
                wake.notify_one();
                Delivery::Done
            }
            None if owners::is_unknown(owner) => Delivery::Unwanted(key.clone()),
            Some((State::Granted, _)) | None => Delivery::Done,
        }
    }

    /// Notes that a release is going to name the waiter. Answers false if the waiter no longer waits.
    pub(super) fn begin_direct(&self, owner: &OwnerToken) -> bool {
        let mut registrations = self.lock();
        let registration = registrations.get_mut(owner).filter(|registration| registration.is_waiting());
        registration.map(|registration| registration.direct += 1).is_some()
    }

    /// Takes the outcome of a release that named the waiter.
    pub(super) fn end_direct(&self, owner: &OwnerToken, outcome: DirectOutcome) -> Delivery {
        let mut registrations = self.lock();
        let Some(registration) = registrations.get_mut(owner) else { return Delivery::Done };
        registration.direct -= 1;
        // The waiter's own release may have reached the server before this one.
        let delivery = match (&registration.state, &outcome) {
            (State::Withdrawn, DirectOutcome::Queued | DirectOutcome::HandedOver(_)) => {
                Delivery::Unwanted(registration.key.clone())
            }
            _ => Delivery::Done,
        };
        match (&mut registration.state, outcome) {
            (State::Registered { .. }, DirectOutcome::Unknown) => registration.wake.notify_one(),
            (State::Registered { handed_over }, DirectOutcome::HandedOver(lease)) => {
                *handed_over = Some(lease);
                registration.wake.notify_one();
            }
            (State::Granted | State::Withdrawn, _) if registration.direct == 0 => {
                registrations.remove(owner);
            }
            _ => {}
        }
        delivery
    }

    /// Withdraws every waiter, because the wait queues cannot be used: each asks in another way.
    pub(super) fn withdraw_all(&self) {
        self.lock().retain(|_, registration| {
            if registration.is_waiting() {
                registration.state = State::Withdrawn;
            }
            registration.wake.notify_one();
            registration.direct > 0
        });
    }

    /// Makes every waiter ask: its connection broke, and a message may be lost.
    pub(super) fn wake_all(&self) {
        for registration in self.lock().values() {
            registration.wake.notify_one();
        }
        self.tracked.all_invalidated();
    }

    /// Ends when the owner has been handed its key, or its key has changed. Never ends for an unregistered
    /// owner.
    pub(super) async fn hint(&self, owner: OwnerToken) -> Hint {
        let wakers = |registration: &Registration| {
            (Arc::clone(&registration.wake), registration.changes.changed(), registration.next_check)
        };
        let Some((wake, changed, next_check)) = self.lock().get(&owner).map(wakers) else {
            return pending().await;
        };
        let changed = async {
            if let Some(next_check) = next_check {
                sleep_until(next_check).await;
            }
            changed.await;
        };
        let has_changed = tokio::select! {
            biased;
            () = wake.notified() => false,
            () = changed => {
                let _ = timeout(MESSAGE_DELAY, wake.notified()).await;
                true
            }
        };
        let handed_over = self.lock().get_mut(&owner).and_then(|registration| {
            if has_changed {
                registration.next_check = Some(Instant::now() + BETWEEN_CHECKS);
            }
            match &mut registration.state {
                // A waiter that hung for longer than it had time may have been passed over: it asks.
                State::Registered { handed_over } => handed_over.take().filter(is_in_time),
                State::Granted | State::Withdrawn => None,
            }
        });
        let Some(handed_over) = handed_over else { return Hint::MayBeFree };
        self.granted(&owner);
        Hint::HandedOver(handed_over)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnerToken, Registration>> {
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the store is still certain to wait for the waiter.
fn is_in_time(lease: &HandOver) -> bool {
    lease.claim_within.is_none_or(|within| Moment::now().since(lease.since) < within)
}

impl Registration {
    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Registered { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new("lock", "k").unwrap()
    }

    fn registered() -> (Registry, OwnerToken) {
        let (registry, owner) = (Registry::default(), OwnerToken::random());
        registry.register(&key(), &owner);
        (registry, owner)
    }

    fn lease() -> HandOver {
        HandOver::new(Moment::now(), Duration::from_secs(2))
    }

    fn is_unwanted(delivery: &Delivery) -> bool {
        matches!(delivery, Delivery::Unwanted(key) if key.name() == "k")
    }

    fn is_empty(registry: &Registry) -> bool {
        registry.lock().is_empty() && registry.tracked.is_empty()
    }

    #[tokio::test]
    async fn a_hand_over_ends_the_hint_and_the_registration() {
        let (registry, owner) = registered();
        assert!(!is_unwanted(&registry.deliver(&key(), &owner, Some(lease()))));
        assert!(matches!(registry.hint(owner).await, Hint::HandedOver(_)));
        assert!(is_empty(&registry));
    }

    #[tokio::test]
    async fn a_hand_over_of_unknown_age_makes_the_waiter_ask() {
        let (registry, owner) = registered();
        assert!(!is_unwanted(&registry.deliver(&key(), &owner, None)));
        assert!(matches!(registry.hint(owner).await, Hint::MayBeFree));
        assert!(registry.is_registered(&owner));
    }

    #[test]
    fn a_hand_over_after_the_release_was_sent_is_unwanted() {
        let (registry, owner) = registered();
        registry.release_sent(&owner);
        assert!(!registry.is_registered(&owner));
        assert!(is_unwanted(&registry.deliver(&key(), &owner, Some(lease()))));
        registry.unregister(&owner);
        assert!(is_empty(&registry));
    }

    #[test]
    fn a_hand_over_to_an_owner_that_this_process_does_not_know_is_unwanted() {
        let (registry, owner) = registered();
        registry.granted(&owner);
        assert!(!is_unwanted(&registry.deliver(&key(), &owner, Some(lease()))), "a body may run under it");
        registry.release_sent(&owner);
        assert!(is_unwanted(&registry.deliver(&key(), &owner, Some(lease()))));
    }

    #[test]
    fn a_registration_outlives_the_releases_that_name_it() {
        for outcome in [DirectOutcome::Queued, DirectOutcome::HandedOver(lease())] {
            let (registry, owner) = registered();
            assert!(registry.begin_direct(&owner));
            registry.release_sent(&owner);
            registry.unregister(&owner);
            assert!(!registry.begin_direct(&owner));
            assert!(is_unwanted(&registry.end_direct(&owner, outcome)));
            assert!(is_empty(&registry));
        }
    }

    #[test]
    fn a_release_without_outcome_hands_nothing_over() {
        let (registry, owner) = registered();
        assert!(registry.begin_direct(&owner));
        registry.unregister(&owner);
        assert!(!is_unwanted(&registry.end_direct(&owner, DirectOutcome::Unknown)));
        assert!(is_empty(&registry));
    }

    #[tokio::test(start_paused = true)]
    async fn changes_of_its_key_wake_a_waiter_once_a_second() {
        let (registry, owner) = registered();
        let start = Instant::now();
        for _ in 0..3 {
            registry.tracked.all_invalidated();
            assert!(matches!(registry.hint(owner).await, Hint::MayBeFree));
            registry.register(&key(), &owner);
        }
        assert!((2000..2100).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    }
}
