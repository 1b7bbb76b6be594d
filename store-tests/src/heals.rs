//! A quorum's node takes a key again that it has lost.

use std::time::Duration;

use distlock_core::{Acquired, FencingToken, Store};
use tokio::time::sleep;

use crate::{
    claim::{Keys, TTL, answer, claim},
    owner::Owner,
};

const TAKES: &str = "Takes the key again, if it is free, for an owner whose lease a node of a quorum has lost while \
                     the quorum has kept it.";
const LASTS: &str = "The lease lasts for the rest of its ttl.";
const REFUSES: &str = "Answers false, and changes nothing, if another owner holds the key.";
const RAISES: &str = "For a fenced lease, the key's fencing counter is raised to the lease's token, unless the counter \
                      is higher.";
const TWICE: &str = "Each may be sent twice, and the second time changes nothing more.";
const NOT_POLLED: &str = "Nothing is sent before the first poll.";

/// In the microseconds of fencing tokens: far above every clock that a store may go by.
const HOUR: u64 = 3_600_000_000;

pub(crate) async fn check(store: &dyn Store) {
    let keys = Keys::new();
    a_free_key_is_taken_for_the_rest_of_its_ttl(store, &keys).await;
    another_owner_s_key_is_not_taken(store, &keys).await;
    the_counter_is_raised_and_never_lowered(store, &keys).await;
    nothing_happens_before_the_first_poll(store, &keys).await;
}

async fn take_again(owner: &Owner<'_>, rest: Duration, fence: Option<u64>) -> bool {
    let fence = fence.map(FencingToken::new);
    let take = owner.store.take_again(&owner.key, &owner.token, rest, fence);
    answer("take_again", take).await
}

async fn a_free_key_is_taken_for_the_rest_of_its_ttl(store: &dyn Store, keys: &Keys) {
    let key = keys.key("healed");
    let (owner, other) = (Owner::new(store, &key), Owner::new(store, &key));
    claim(take_again(&owner, TTL, None).await, TAKES, "false, although the key is free");
    let remaining = owner.remaining().await;
    claim(remaining > TTL / 2 && remaining <= TTL, LASTS, remaining);
    let refused = other.acquire(TTL).await;
    claim(matches!(refused, Acquired::Busy { .. }), TAKES, refused);
    claim(take_again(&owner, TTL * 10, None).await, TWICE, "false, although the owner holds the key");
    let remaining = owner.remaining().await;
    claim(remaining <= TTL, TWICE, remaining);
    claim(owner.renew(TTL).await, TAKES, "the owner's renewal is answered with false");
    owner.give_back().await;

    let short = Duration::from_millis(30);
    claim(take_again(&owner, short, None).await, TAKES, "false, although the key is free");
    sleep(short * 2).await;
    owner.is_free(LASTS).await;
}

async fn another_owner_s_key_is_not_taken(store: &dyn Store, keys: &Keys) {
    let key = keys.key("taken");
    let (owner, other, next) = (Owner::new(store, &key), Owner::new(store, &key), Owner::new(store, &key));
    let ahead = other.take_fenced().await.value() + HOUR;
    for fence in [None, Some(ahead)] {
        claim(!take_again(&owner, TTL * 10, fence).await, REFUSES, "true");
    }
    let remaining = other.remaining().await;
    claim(remaining <= TTL, REFUSES, remaining);
    claim(!owner.renew(TTL).await, REFUSES, "the owner holds the key");
    other.give_back().await;
    let drawn = next.take_fenced().await.value();
    claim(drawn < ahead, REFUSES, (ahead, drawn));
    next.give_back().await;
}

async fn the_counter_is_raised_and_never_lowered(store: &dyn Store, keys: &Keys) {
    let key = keys.key("healed with a token");
    let (before, owner, next) = (Owner::new(store, &key), Owner::new(store, &key), Owner::new(store, &key));
    let drawn = before.take_fenced().await.value();
    before.give_back().await;
    let mut highest = drawn + HOUR;
    // The second token is lower than the counter, as after a failed attempt of another owner.
    for fence in [highest, drawn] {
        claim(take_again(&owner, TTL, Some(fence)).await, TAKES, "false, although the key is free");
        owner.give_back().await;
        let later = next.take_fenced().await.value();
        claim(later > highest, RAISES, (highest, later));
        highest = later;
        next.give_back().await;
    }
}

async fn nothing_happens_before_the_first_poll(store: &dyn Store, keys: &Keys) {
    let owner = Owner::new(store, &keys.key("not healed"));
    drop(store.take_again(&owner.key, &owner.token, TTL, None));
    owner.is_free(NOT_POLLED).await;
}
