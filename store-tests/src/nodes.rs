//! A quorum's node: it draws what is proposed, and its counter is raised by the holder only.

use std::time::Duration;

use distlock_core::{Acquired, FencingToken, Store};

use tokio::time::timeout;

use crate::{
    claim::{Keys, TTL, answer, claim},
    owner::Owner,
};

const PROPOSAL: &str = "Acquires with a fencing token as a node of a quorum, whose nodes are to draw one number: \
                        `proposal`, kept within 100 ms of the store's own clock, unless a higher number was drawn \
                        or raised before.";
const RAISE: &str = "Raises the key's fencing counter to `fence` as a node of a quorum.";
const NO_CHANGE: &str = "It does not end for a key that is free at the first poll.";
const REFUSES: &str =
    "Answers false, and changes nothing, if the owner does not hold the key or the counter is higher.";
const AGAIN: &str = "The owner's `acquire_proposed`, sent again, then answers the raised number.";

/// In the microseconds of fencing tokens.
const SECOND: u64 = 1_000_000;

pub(crate) async fn check(store: &dyn Store) {
    let keys = Keys::new();
    a_proposal_is_drawn(store, &keys).await;
    only_the_owner_raises_and_never_down(store, &keys).await;
    no_clock_pulls_the_tokens_away(store, &keys).await;
    a_free_key_has_no_change_to_wait_for(store, &keys).await;
}

/// A proposal that is a little ahead of every clock that a store may go by, and above every token drawn so
/// far.
async fn near(store: &dyn Store, keys: &Keys) -> u64 {
    let owner = Owner::new(store, &keys.key("clock"));
    let drawn = owner.take_fenced().await;
    owner.give_back().await;
    drawn.value() + SECOND / 20
}

async fn propose(owner: &Owner<'_>, proposal: u64) -> u64 {
    let proposal = FencingToken::new(proposal);
    let acquire = owner.store.acquire_proposed(&owner.key, &owner.token, TTL, proposal);
    match answer("acquire_proposed", acquire).await {
        Acquired::Granted { fence: Some(fence), .. } => fence.value(),
        other => {
            claim(false, PROPOSAL, other);
            unreachable!("the claim has failed")
        }
    }
}

async fn raise(owner: &Owner<'_>, fence: u64) -> bool {
    let raise = owner.store.raise_fence(&owner.key, &owner.token, FencingToken::new(fence));
    answer("raise_fence", raise).await
}

async fn a_proposal_is_drawn(store: &dyn Store, keys: &Keys) {
    let key = keys.key("proposal");
    let proposal = near(store, keys).await;
    let (owner, next) = (Owner::new(store, &key), Owner::new(store, &key));
    let drawn = propose(&owner, proposal).await;
    claim(drawn == proposal, PROPOSAL, (proposal, drawn));
    let again = propose(&owner, proposal + 1).await;
    claim(
        again == drawn,
        "Each may be sent twice, and the second time changes nothing more.",
        (drawn, again),
    );
    owner.give_back().await;
    let drawn = propose(&next, proposal).await;
    claim(drawn > proposal, PROPOSAL, (proposal, drawn));
    next.give_back().await;
}

async fn only_the_owner_raises_and_never_down(store: &dyn Store, keys: &Keys) {
    let key = keys.key("raise");
    let (owner, other, next) = (Owner::new(store, &key), Owner::new(store, &key), Owner::new(store, &key));
    claim(!raise(&owner, near(store, keys).await).await, REFUSES, "the counter of a free key is raised");
    let drawn = propose(&owner, near(store, keys).await).await;
    claim(!raise(&other, drawn + 1).await, REFUSES, "another owner raises the counter");
    claim(!raise(&owner, drawn - 1).await, REFUSES, "the counter is lowered");
    claim(raise(&owner, drawn).await, RAISE, "a raise to what was drawn is answered with false");
    claim(raise(&owner, drawn + 10).await, RAISE, "a raise by the owner is answered with false");
    claim(!raise(&owner, drawn + 9).await, REFUSES, "the counter is lowered after it was raised");
    let again = propose(&owner, drawn).await;
    claim(again == drawn + 10, AGAIN, (drawn + 10, again));
    owner.give_back().await;
    claim(!raise(&owner, drawn + 20).await, REFUSES, "the counter is raised by an owner that has released");
    let higher = propose(&next, drawn).await;
    claim(higher > drawn + 10, PROPOSAL, (drawn + 10, higher));
    next.give_back().await;
}

async fn no_clock_pulls_the_tokens_away(store: &dyn Store, keys: &Keys) {
    let now = near(store, keys).await;
    let owner = Owner::new(store, &keys.key("ahead"));
    let drawn = propose(&owner, now + 3600 * SECOND).await;
    claim(drawn < now + 60 * SECOND, PROPOSAL, (now + 3600 * SECOND, drawn));
    owner.give_back().await;
    let owner = Owner::new(store, &keys.key("behind"));
    let drawn = propose(&owner, now - 3600 * SECOND).await;
    claim(drawn > now - 60 * SECOND, PROPOSAL, (now - 3600 * SECOND, drawn));
    owner.give_back().await;
}

/// A quorum's waiters would ask again and again for a key that is free on some nodes and held on others.
async fn a_free_key_has_no_change_to_wait_for(store: &dyn Store, keys: &Keys) {
    let key = keys.key("unchanged");
    let hint = timeout(Duration::from_millis(50), store.wait_for_change(&key)).await;
    claim(hint.is_err(), NO_CHANGE, hint);
}
