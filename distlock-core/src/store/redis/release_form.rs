//! How a store's releases, claims, fenced acquires and acquires that enqueue are sent.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use super::{keys::RedisKey, script::First};

/// What a store has learned about its server that decides how its commands are sent.
#[derive(Default)]
pub(super) struct ReleaseForm {
    /// The server is likely to have the script. Set by the first release that works, never cleared.
    has_script: AtomicBool,
    /// The server is likely to have the script of claims. Set by the first claim that works, never cleared.
    has_claims: AtomicBool,
    /// The server is likely to have the script of acquires that enqueue. Set by the first that works, never
    /// cleared.
    has_enqueue: AtomicBool,
    /// The server is likely to have the script of fenced acquires. Set by the first that works, never
    /// cleared.
    has_fenced: AtomicBool,
    /// How many of the next releases name all keys, because a wait queue was met. Each release counts down.
    in_queues: AtomicU32,
    /// How many of the next releases name no key but the lock's, because the server has refused the longer
    /// script, or the companions' names. Set by a release that works then. Each release counts down, so that
    /// the longer script is tried again: the access rules may have changed.
    lock_only: AtomicU32,
    /// In which of [`WITHOUT_QUEUE`] these releases are sent. Set together with `lock_only`.
    without_queue: AtomicUsize,
    /// How many of the next renewals are sent by SET, because the server has refused the script. Set by a
    /// renewal that works then. Each renewal counts down.
    by_set: AtomicU32,
    /// The store's keys have no wait queues.
    has_no_queues: bool,
}

/// How a release is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReleaseWay {
    /// By a script: it hands the key over unless it names the lock's key alone.
    Script(NamedKeys),
    /// By `DELIFEQ` of Valkey 9.
    DelIfEq,
    /// By `DELEX .. IFEQ` of Redis 8.4.
    DelEx,
}

/// The ways of a release that is not to look at the wait queue, in the order in which they are tried. A
/// server's own command comes first: a server that refuses one script may refuse another one, too.
const WITHOUT_QUEUE: [ReleaseWay; 3] =
    [ReleaseWay::DelIfEq, ReleaseWay::DelEx, ReleaseWay::Script(NamedKeys::Lock)];

/// The keys that a release names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedKeys {
    Lock,
    WithQueue,
    /// There may be waiters.
    All,
}

/// How many releases name all keys after a wait queue was met.
const RELEASES_IN_QUEUES: u32 = 100;

/// How many releases name the lock's key alone after the server refused more.
const RELEASES_LOCK_ONLY: u32 = 100;

/// How many renewals are sent by SET after the server refused the script.
const RENEWALS_BY_SET: u32 = 100;

/// A release's answer when there is a wait queue and not all keys were named: nothing was changed.
pub(super) const NEEDS_ALL_KEYS: i64 = -1;

impl NamedKeys {
    pub(super) fn of<'a, 'k>(self, all: &'a [RedisKey<'k>; 5]) -> &'a [RedisKey<'k>] {
        match self {
            Self::Lock => &all[..1],
            Self::WithQueue => &all[..2],
            Self::All => all,
        }
    }
}

impl ReleaseForm {
    /// The form of a store whose keys have no wait queues.
    pub(super) fn lock_only() -> Self {
        Self { has_no_queues: true, ..Self::default() }
    }

    /// Whether the store's keys have wait queues.
    pub(super) fn has_queues(&self) -> bool {
        !self.has_no_queues
    }

    /// Whether releases name no key but the lock's.
    pub(super) fn is_lock_only(&self) -> bool {
        self.has_no_queues || self.lock_only.load(Ordering::Relaxed) > 0
    }

    /// The keys that a script names which is about to be sent, if a release of now looks at the wait queue.
    pub(super) fn keys_of_release(&self) -> NamedKeys {
        if self.has_no_queues {
            NamedKeys::Lock
        } else if count_down(&self.in_queues) {
            NamedKeys::All
        } else {
            NamedKeys::WithQueue
        }
    }

    /// The way of a release that is about to be sent, and the ways that are tried if it is refused.
    pub(super) fn ways(&self) -> (ReleaseWay, impl Iterator<Item = ReleaseWay> + use<>) {
        let first = if count_down(&self.lock_only) {
            WITHOUT_QUEUE[self.without_queue.load(Ordering::Relaxed)]
        } else {
            ReleaseWay::Script(self.keys_of_release())
        };
        (first, WITHOUT_QUEUE.into_iter().filter(move |way| *way != first))
    }

    /// Whether a renewal that is about to be sent is sent by SET.
    pub(super) fn renews_by_set(&self) -> bool {
        count_down(&self.by_set)
    }

    /// How a release is sent, so that it takes one round trip. With a second one, a command that is sent
    /// after the release could arrive before it.
    pub(super) fn first(&self) -> First {
        if self.has_script.load(Ordering::Relaxed) { First::ByHash } else { First::ByText }
    }

    /// How an acquire that enqueues is sent, so that the first one takes one round trip, too.
    pub(super) fn first_enqueue(&self) -> First {
        if self.has_enqueue.load(Ordering::Relaxed) { First::ByHash } else { First::ByText }
    }

    /// How a claim is sent, so that the first one takes one round trip, too.
    pub(super) fn first_claim(&self) -> First {
        if self.has_claims.load(Ordering::Relaxed) { First::ByHash } else { First::ByText }
    }

    /// Called when a claim was answered.
    pub(super) fn claim_worked(&self) {
        set(&self.has_claims);
    }

    /// Called when an acquire that enqueues was answered.
    pub(super) fn enqueue_worked(&self) {
        set(&self.has_enqueue);
    }

    /// How a fenced acquire is sent, so that the first one takes one round trip, too.
    pub(super) fn first_fenced(&self) -> First {
        if self.has_fenced.load(Ordering::Relaxed) { First::ByHash } else { First::ByText }
    }

    /// Called when a fenced acquire was answered.
    pub(super) fn fenced_worked(&self) {
        set(&self.has_fenced);
    }

    /// Called when a key turns out to have a wait queue.
    pub(super) fn queue_was_met(&self) {
        self.in_queues.store(RELEASES_IN_QUEUES, Ordering::Relaxed);
    }

    /// Called when a release was answered in this way, perhaps after the server had refused others.
    pub(super) fn worked(&self, way: ReleaseWay, is_refused_more: bool) {
        if matches!(way, ReleaseWay::Script(_)) {
            set(&self.has_script);
        }
        let place = WITHOUT_QUEUE.iter().position(|other| *other == way);
        if let Some(place) = place.filter(|_| is_refused_more) {
            self.without_queue.store(place, Ordering::Relaxed);
            self.lock_only.store(RELEASES_LOCK_ONLY, Ordering::Relaxed);
        }
    }

    /// Called when a renewal by SET was answered after the server had refused the script.
    pub(super) fn renewal_by_set_worked(&self) {
        self.by_set.store(RENEWALS_BY_SET, Ordering::Relaxed);
    }
}

/// Whether the counter was above zero.
fn count_down(counter: &AtomicU32) -> bool {
    let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
    counter.fetch_update(set, get, |count| count.checked_sub(1)).is_ok()
}

/// Sets a flag that all cores read, without writing to it each time.
fn set(flag: &AtomicBool) {
    if !flag.load(Ordering::Relaxed) {
        flag.store(true, Ordering::Relaxed);
    }
}
