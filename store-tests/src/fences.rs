//! Fencing tokens: asked for, the same for the same acquire, and rising.

use distlock_core::{Acquired, Store};

use crate::{
    claim::{Keys, TTL, claim},
    owner::Owner,
};

const IF_ASKED: &str = "The fencing token, if the acquire asked for one.";
const RISES: &str =
    "A number that rises with every fenced grant of a key, for the protected resource to check.";
const TWICE: &str = "An owner that holds the key already is granted it again with the same fencing token: \
                     the acquire was sent twice.";

pub(crate) async fn check(store: &dyn Store) {
    let keys = Keys::new();
    tokens_rise_from_grant_to_grant(store, &keys).await;
    a_token_is_drawn_only_where_it_is_asked_for(store, &keys).await;
}

async fn tokens_rise_from_grant_to_grant(store: &dyn Store, keys: &Keys) {
    let key = keys.key("rising");
    let mut last = None;
    for _ in 0..5 {
        let (owner, other) = (Owner::new(store, &key), Owner::new(store, &key));
        let fence = owner.take_fenced().await;
        claim(Some(fence) > last, RISES, (last, fence));
        let again = owner.acquire_fenced().await;
        claim(again == Acquired::granted(Some(fence)), TWICE, (fence, again));
        let refused = other.acquire_fenced().await;
        claim(matches!(refused, Acquired::Busy { .. }), RISES, refused);
        owner.give_back().await;
        last = Some(fence);
    }
}

async fn a_token_is_drawn_only_where_it_is_asked_for(store: &dyn Store, keys: &Keys) {
    let owner = Owner::new(store, &keys.key("unasked"));
    let granted = owner.acquire(TTL).await;
    claim(granted == Acquired::granted(None), IF_ASKED, granted);
    owner.give_back().await;
}
