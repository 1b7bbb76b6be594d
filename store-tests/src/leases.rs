//! Leases: granted to one owner, renewed and released by that owner only, and over when their ttl is.

use std::time::Duration;

use distlock_core::{Acquired, Store};

use crate::{
    claim::{Keys, TTL, claim},
    owner::Owner,
};

const ACQUIRE: &str = "Takes the key for `ttl` if it is free, or answers what is left of the holder's lease.";
const TWICE: &str = "An owner that holds the key already is granted it again with the same fencing token: \
                     the acquire was sent twice.";
const RENEW: &str = "Lets the owner's lease last `ttl` from now.";
const NOT_THE_OWNER: &str = "Answers false, and changes nothing, if the owner does not hold the key.";
const NEVER_CREATES: &str = "It never creates the key.";
const RELEASE: &str = "Ends the owner's lease.";
const NOT_POLLED: &str = "Nothing is sent before the first poll.";
const INSPECT: &str = "Answers the key's holder; `None` if the key is free.";

/// What is left of a lease after a few round trips.
fn is_fresh(remaining: Duration) -> bool {
    remaining > TTL / 2 && remaining <= TTL
}

pub(crate) async fn check(store: &dyn Store) {
    let keys = Keys::new();
    a_key_has_one_holder(store, &keys).await;
    an_acquire_can_be_sent_twice(store, &keys).await;
    only_the_owner_renews(store, &keys).await;
    only_the_owner_releases(store, &keys).await;
    a_renewal_never_creates_the_key(store, &keys).await;
    a_lease_lapses(store, &keys).await;
    nothing_happens_before_the_first_poll(store, &keys).await;
    keys_do_not_meet(store, &keys).await;
}

async fn a_key_has_one_holder(store: &dyn Store, keys: &Keys) {
    let key = keys.key("holder");
    let (owner, other) = (Owner::new(store, &key), Owner::new(store, &key));
    owner.is_free(INSPECT).await;
    let granted = owner.acquire(TTL).await;
    claim(granted == Acquired::granted(None), ACQUIRE, granted);
    let refused = other.acquire(TTL).await;
    let told = matches!(refused, Acquired::Busy { remaining: Some(remaining), .. } if is_fresh(remaining));
    claim(told, ACQUIRE, refused);
    let remaining = owner.remaining().await;
    claim(is_fresh(remaining), INSPECT, remaining);
    owner.give_back().await;
}

async fn an_acquire_can_be_sent_twice(store: &dyn Store, keys: &Keys) {
    let owner = Owner::new(store, &keys.key("twice"));
    owner.take(TTL).await;
    let again = owner.acquire(TTL).await;
    claim(again == Acquired::granted(None), TWICE, again);
    owner.give_back().await;
    // A quorum that grants twice on a node would leave a lease there.
    owner.is_free(RELEASE).await;
}

async fn only_the_owner_renews(store: &dyn Store, keys: &Keys) {
    let key = keys.key("renew");
    let (owner, other) = (Owner::new(store, &key), Owner::new(store, &key));
    owner.take(TTL).await;
    claim(!other.renew(TTL * 10).await, NOT_THE_OWNER, "another owner's renewal is answered with true");
    let remaining = owner.remaining().await;
    claim(remaining <= TTL, NOT_THE_OWNER, remaining);
    claim(owner.renew(TTL * 10).await, RENEW, "the owner's renewal is answered with false");
    let remaining = owner.remaining().await;
    claim(remaining > TTL && remaining <= TTL * 10, RENEW, remaining);
    claim(owner.renew(TTL).await, RENEW, "a renewal for less than is left is answered with false");
    let remaining = owner.remaining().await;
    claim(is_fresh(remaining), RENEW, remaining);
    owner.give_back().await;
}

async fn only_the_owner_releases(store: &dyn Store, keys: &Keys) {
    let key = keys.key("release");
    let (owner, other) = (Owner::new(store, &key), Owner::new(store, &key));
    owner.take(TTL).await;
    claim(!other.release().await, NOT_THE_OWNER, "another owner's release is answered with true");
    let remaining = owner.remaining().await;
    claim(is_fresh(remaining), NOT_THE_OWNER, remaining);
    owner.give_back().await;
    owner.is_free(RELEASE).await;
    claim(!owner.release().await, NOT_THE_OWNER, "a second release is answered with true");
}

async fn a_renewal_never_creates_the_key(store: &dyn Store, keys: &Keys) {
    let owner = Owner::new(store, &keys.key("missing"));
    claim(!owner.renew(TTL).await, NEVER_CREATES, "the renewal of a free key is answered with true");
    owner.is_free(NEVER_CREATES).await;
}

async fn a_lease_lapses(store: &dyn Store, keys: &Keys) {
    let key = keys.key("lapse");
    let (owner, next) = (Owner::new(store, &key), Owner::new(store, &key));
    let short = Duration::from_millis(30);
    owner.take(short).await;
    tokio::time::sleep(short * 2).await;
    owner.is_free(ACQUIRE).await;
    claim(!owner.renew(TTL).await, NOT_THE_OWNER, "a lease that has lapsed is renewed");
    owner.is_free(NEVER_CREATES).await;
    claim(!owner.release().await, NOT_THE_OWNER, "a lease that has lapsed is released");
    next.take(TTL).await;
    claim(!owner.release().await, NOT_THE_OWNER, "a late release is answered with true");
    let remaining = next.remaining().await;
    claim(is_fresh(remaining), NOT_THE_OWNER, remaining);
    next.give_back().await;
}

async fn nothing_happens_before_the_first_poll(store: &dyn Store, keys: &Keys) {
    let key = keys.key("unpolled");
    let owner = Owner::new(store, &key);
    drop(store.acquire(&key, &owner.token, TTL, false));
    owner.is_free(NOT_POLLED).await;
    owner.take(TTL).await;
    drop(store.renew(&key, &owner.token, TTL * 10));
    drop(store.release(&key, &owner.token));
    let remaining = owner.remaining().await;
    claim(is_fresh(remaining), NOT_POLLED, remaining);
    owner.give_back().await;
}

async fn keys_do_not_meet(store: &dyn Store, keys: &Keys) {
    let names = ["x", "x:y", "{x}", "{x}y", "x\0\n", "x\u{1f}", "x\u{1f}q", "X", "\u{e9}", "%78"];
    let owners: Vec<_> = names.iter().map(|name| Owner::new(store, &keys.key(name))).collect();
    for owner in &owners {
        owner.take(TTL).await;
    }
    for owner in &owners {
        owner.give_back().await;
    }
}
