//! How a quorum's node takes a lock again that it has lost.

use std::time::Duration;

use redis::aio::ConnectionLike;

use super::{
    commands::{millis, owned},
    keys::RedisKey,
    script::{First, Script},
};
use crate::{
    error::StoreError,
    key::Key,
    token::{FencingToken, OwnerToken},
};

const TAKE_AGAIN_LUA: &str = include_str!("lua/take_again.lua");
static TAKE_AGAIN: Script = Script::new(TAKE_AGAIN_LUA, || Script::sha1(TAKE_AGAIN_LUA));

/// Takes the lock for the rest of its ttl if it is free, and raises the counter of a fenced lease.
///
/// The counter lasts for `lifetime` from then on.
pub(super) async fn take_again(
    connection: &mut impl ConnectionLike,
    key: &Key,
    owner: &OwnerToken,
    rest_of_ttl: Duration,
    fence: Option<FencingToken>,
    lifetime: Duration,
) -> Result<bool, StoreError> {
    let mut text = [0; OwnerToken::MAX_BYTES];
    let number = fence.map(|fence| fence.value().to_string()).unwrap_or_default();
    let args = (owner.encode(&mut text), millis(rest_of_ttl), number, millis(lifetime.max(rest_of_ttl)));
    let keys = [RedisKey::lock(key), RedisKey::broken_owners(key), RedisKey::fencing_counter(key)];
    // A lease without a token touches no counter.
    let named = if fence.is_some() { &keys[..] } else { &keys[..2] };
    owned(TAKE_AGAIN.invoke(connection, First::ByHash, named, args).await)
}
