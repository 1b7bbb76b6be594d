//! The commands of a lease in the forms that name one key: a server does each of them while the key's slot is
//! moving, when the lock and its companions may be at two servers.

use std::time::Duration;

use redis::aio::ConnectionLike;

use super::super::{
    commands,
    errors::classify,
    keys::RedisKey,
    release_form::ReleaseForm,
    script::{First, Script},
};
use crate::{error::StoreError, key::Key, token::OwnerToken};

const FORGET_CLAIM_LUA: &str = include_str!("../lua/forget_claim.lua");
static FORGET_CLAIM: Script = Script::new(FORGET_CLAIM_LUA, || Script::sha1(FORGET_CLAIM_LUA));

/// What an acquire has found.
pub(super) enum Found {
    /// The key was free, and is the owner's now.
    Taken,
    /// The key was the owner's already: it was handed over, or an acquire was sent twice.
    Own,
    Others {
        remaining: Option<Duration>,
    },
}

/// Takes the key if it is free.
pub(super) async fn take(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
) -> Result<Found, StoreError> {
    if commands::set_if_free(connection, key, owner, ttl).await? {
        return Ok(Found::Taken);
    }
    let mut text = [0; OwnerToken::MAX_BYTES];
    Ok(match commands::look(connection, key).await? {
        Some((value, _)) if value == owner.encode(&mut text).as_bytes() => Found::Own,
        Some((_, holder)) => Found::Others { remaining: holder.remaining },
        None => Found::Others { remaining: Some(Duration::ZERO) },
    })
}

/// Ends the owner's lease, without a look at the wait queue.
pub(super) async fn release(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
) -> Result<bool, StoreError> {
    commands::release(connection, key, owner, &ReleaseForm::lock_only()).await
}

/// Removes the mark of a hand-over to the owner that was not claimed.
///
/// It comes before the renewal that claims the lease: with the mark there, the first waiter may depose the
/// owner.
pub(super) async fn forget_claim(
    connection: &mut impl ConnectionLike,
    key: &Key,
    owner: &OwnerToken,
) -> Result<bool, StoreError> {
    let mut text = [0; OwnerToken::MAX_BYTES];
    let [_, _, _, entries, _] = RedisKey::all(key);
    commands::owned(FORGET_CLAIM.invoke(connection, First::ByHash, &[entries], owner.encode(&mut text)).await)
}

/// A part of a wait queue that an owner leaves.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Order,
    Entries,
}

/// Removes the owner from a part of the wait queue.
pub(super) async fn leave(
    connection: &mut impl ConnectionLike,
    key: &Key,
    owner: &OwnerToken,
    part: Part,
) -> Result<bool, StoreError> {
    let mut text = [0; OwnerToken::MAX_BYTES];
    let [_, _, order, entries, _] = RedisKey::all(key);
    let (command, key) = match part {
        Part::Order => ("ZREM", order),
        Part::Entries => ("HDEL", entries),
    };
    let removed = redis::cmd(command).arg(key).arg(owner.encode(&mut text)).query_async(connection).await;
    removed.map_err(classify)
}
