//! The commands of the wait queues: an acquire that enqueues, and a release that names a waiter of this process.

use std::{sync::Arc, time::Duration};

use redis::Value;
use tokio::time::Instant;

use super::{
    super::{
        commands::{RELEASE, granted, micros, millis, owned, remaining},
        errors::{classify, nonsense},
        script::{First, Script},
    },
    channel::WaitChannel,
    offer::DirectHandOver,
    registry::DirectOutcome,
    wire::handed_over_ttl,
};
use crate::{
    clock::Moment,
    error::StoreError,
    key::Key,
    store::{Acquired, HandOver},
    token::{FencingToken, OwnerToken},
};

const ACQUIRE_OR_ENQUEUE_LUA: &str =
    concat!(include_str!("../lua/hand_over.lua"), include_str!("../lua/acquire_or_enqueue.lua"));
static ACQUIRE_OR_ENQUEUE: Script =
    Script::new(ACQUIRE_OR_ENQUEUE_LUA, || Script::sha1(ACQUIRE_OR_ENQUEUE_LUA));

/// Takes the key, or puts the owner into the key's wait queue.
pub(super) async fn acquire_or_enqueue(
    channel: &Arc<WaitChannel>,
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    fenced: bool,
    since: Instant,
) -> Result<Acquired, StoreError> {
    let mut connection = channel.connection().await?;
    let mut text = [0; 36];
    let text = owner.encode(&mut text);
    let waited = micros(since.elapsed());
    let args = (text, millis(ttl), key.line(), channel.entry(text, ttl, fenced), waited, u8::from(fenced));
    // Before the server can have anything to tell.
    channel.registry().register(key, owner);
    let sent = Moment::now();
    let answer = ACQUIRE_OR_ENQUEUE
        .invoke(&mut connection.commands, First::ByHash, &[key.as_str()], args)
        .await
        .map_err(classify);
    let answer = answer.inspect_err(|error| channel.failed(&connection, error))?;
    connection.answered(sent);
    match answer {
        (1, fence) => {
            channel.registry().granted(owner);
            granted(fence, fenced)
        }
        (0, Some(pttl)) => Ok(Acquired::Busy { remaining: remaining(pttl) }),
        _ => Err(nonsense("an acquire that enqueues answers a pair of numbers")),
    }
}

/// Releases the key, and hands it over to the named waiter if that waiter has waited longest.
pub(in super::super) async fn release_and_hand_over(
    key: &Key,
    owner: &OwnerToken,
    hand_over: &mut DirectHandOver,
    how: First,
) -> Result<bool, StoreError> {
    let mut text = [0; 36];
    let waited = micros(hand_over.next().waiting_since.elapsed());
    let args = (owner.encode(&mut text), key.line(), hand_over.entry(), waited);
    let since = Moment::now();
    let commands = &mut hand_over.connection().commands;
    let answer = RELEASE.invoke(commands, how, &[key.as_str()], args).await;
    if answer.is_ok() {
        hand_over.connection().answered(since);
    }
    let Ok(Value::Array(answer)) = answer else {
        let released = owned(answer.and_then(|answer| Ok(redis::from_redis_value(answer)?)));
        if let Err(error) = &released {
            let connection = hand_over.connection().clone();
            hand_over.channel().failed(&connection, error);
        }
        hand_over.end(if matches!(released, Ok(true)) {
            DirectOutcome::Queued
        } else {
            DirectOutcome::Unknown
        });
        return released;
    };
    let [Value::Int(2), fence] = &*answer else {
        return Err(nonsense("a release answers a pair of numbers"));
    };
    let fence = match fence {
        Value::Int(fence) => u64::try_from(*fence).ok().map(FencingToken::new),
        _ => None,
    };
    let lasts = handed_over_ttl(hand_over.next().ttl);
    hand_over.end(DirectOutcome::HandedOver(HandOver { fence, since, lasts }));
    Ok(true)
}
