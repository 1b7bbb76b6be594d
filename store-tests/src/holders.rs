//! Who holds a key, which keys are held, and how a lock is broken.

use distlock_core::{Acquired, Holder, Store};

use crate::{
    claim::{Keys, TTL, answer, claim},
    owner::Owner,
};

const NAMES: &str = "Answers the key's holder; `None` if the key is free.";
const LISTS: &str =
    "Lists the holders of all keys in a namespace whose names begin with `prefix`, in no order.";
const BREAKS: &str = "Ends the lease of the holder with this id, as a release by its owner would: \
                      the first waiter gets the key.";
const SPARES: &str = "Answers false, and changes nothing, if that holder does not hold the key.";
const NOT_AGAIN: &str = "From then on, for a minute and for as long as its lease would have lasted, \
                         its owner cannot take the key again, even if it did not hold the key here: \
                         the other nodes of a quorum may have to be told yet.";

pub(crate) async fn check(store: &dyn Store) {
    let keys = Keys::new();
    a_holder_has_its_label_and_an_id_of_its_own(store, &keys).await;
    the_held_keys_are_listed(store, &keys).await;
    the_holder_that_was_seen_is_broken(store, &keys).await;
}

async fn a_holder_has_its_label_and_an_id_of_its_own(store: &dyn Store, keys: &Keys) {
    let key = keys.key("named");
    let (owner, next) = (Owner::new(store, &key), Owner::new(store, &key));
    owner.take(TTL).await;
    let holder = seen(&owner).await;
    let expected = Holder::new(key.name(), &owner.token);
    let is_the_owner =
        (&holder.key, &holder.label, holder.since) == (&expected.key, &expected.label, expected.since);
    claim(is_the_owner, NAMES, &holder);
    claim(holder.id().is_some(), NAMES, "a holder without an id");
    claim(seen(&owner).await.id() == holder.id(), NAMES, "an id that changes");
    owner.give_back().await;
    next.take(TTL).await;
    claim(seen(&next).await.id() != holder.id(), NAMES, "two leases with one id");
    next.give_back().await;
}

async fn the_held_keys_are_listed(store: &dyn Store, keys: &Keys) {
    let all = ["listed: a", "listed: b", "listed: b\u{1f}", "listed* c", "listed [d]"];
    let all: Vec<_> = all.iter().map(|name| keys.key(name)).collect();
    let owners: Vec<_> = all.iter().map(|key| Owner::new(store, key)).collect();
    for owner in &owners {
        owner.take(TTL).await;
    }
    let (first, namespace) = (all[0].name(), "lock");
    let prefix = &first[..first.len() - " a".len()];
    let mut found = Vec::new();
    let mut pages = store.list(namespace, prefix);
    while let Some(page) = answer("list", Box::pin(async { pages.next_page().await })).await {
        found.extend(page.into_iter().map(|holder| holder.key));
    }
    found.sort();
    found.dedup();
    let expected: Vec<_> = all[..3].iter().map(|key| key.name().to_owned()).collect();
    claim(found == expected, LISTS, (found, expected));
    for owner in &owners {
        owner.give_back().await;
    }
}

async fn the_holder_that_was_seen_is_broken(store: &dyn Store, keys: &Keys) {
    let key = keys.key("broken");
    let (owner, next) = (Owner::new(store, &key), Owner::new(store, &key));
    owner.take(TTL).await;
    let first = seen(&owner).await.id().expect("it was checked before");
    let break_lock = async |id| answer("break_lock", store.break_lock(&key, id)).await;
    claim(break_lock(first).await, BREAKS, "false, although that holder held the key");
    owner.is_free(BREAKS).await;
    claim(!break_lock(first).await, SPARES, "true, although the key is free");
    claim(!owner.renew(TTL).await, BREAKS, "the owner's renewal is answered with true");
    let again = answer("take_again", store.take_again(&key, &owner.token, TTL, None)).await;
    claim(!again, NOT_AGAIN, "true");
    owner.is_free(NOT_AGAIN).await;
    let granted = next.acquire(TTL).await;
    claim(matches!(granted, Acquired::Granted { .. }), BREAKS, granted);
    let second = seen(&next).await.id().expect("it was checked before");
    break_lock(first).await;
    claim(seen(&next).await.id() == Some(second), SPARES, "another holder was broken");
    next.give_back().await;
    claim(!break_lock(second).await, SPARES, "true, although the key is free");
}

async fn seen(owner: &Owner<'_>) -> Holder {
    let holder = owner.holder().await;
    claim(holder.is_some(), NAMES, "none, although the key is held");
    holder.expect("it was checked")
}
