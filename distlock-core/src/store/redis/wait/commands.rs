//! The commands of the wait queues: an acquire that enqueues, and a release that names a local waiter.

use std::{sync::Arc, time::Duration};

use redis::Value;
use tokio::time::Instant;

use super::{
    super::{
        commands::{RELEASE, busy, granted, micros, millis, owned, release},
        errors::{classify, is_refused, nonsense},
        keys::RedisKey,
        release_form::{NEEDS_ALL_KEYS, NamedKeys, ReleaseForm, ReleaseWay},
        script::Script,
    },
    channel::WaitChannel,
    offer::DirectHandOver,
    registry::DirectOutcome,
};
use crate::{
    clock::Moment,
    error::StoreError,
    key::Key,
    store::{Acquired, HandOver, NextWaiter},
    token::{FencingToken, OwnerToken},
};

const ACQUIRE_OR_ENQUEUE_LUA: &str = concat!(
    include_str!("../lua/limits.lua"),
    include_str!("../lua/draw.lua"),
    include_str!("../lua/acquire_free.lua"),
    include_str!("../lua/queue.lua"),
    include_str!("../lua/hand_over.lua"),
    include_str!("../lua/foreign.lua"),
    include_str!("../lua/acquire_or_enqueue.lua")
);
static ACQUIRE_OR_ENQUEUE: Script =
    Script::new(ACQUIRE_OR_ENQUEUE_LUA, || Script::sha1(ACQUIRE_OR_ENQUEUE_LUA));

/// The answer to an acquire that may enqueue.
pub(super) struct Answer {
    pub(super) acquired: Acquired,
    /// The key's queue has a format of another version of this library, so that the owner is not in it.
    pub(super) unknown_queue: bool,
    /// How often to ask, because other libraries take the key too; `None` if none was seen lately.
    pub(super) ask_every: Option<Duration>,
}

/// What the script answers: see its header.
type Asked = (i64, Option<i64>, Option<u64>, Option<Vec<u8>>, bool);

/// Takes the key, or puts the owner into the key's wait queue. Calls `registered` once the owner is
/// registered at the channel.
pub(super) async fn acquire_or_enqueue(
    channel: &Arc<WaitChannel>,
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    fenced: bool,
    since: Instant,
    registered: impl FnOnce(),
) -> Result<Answer, StoreError> {
    let mut connection = channel.connection().await?;
    if let Some(refusal) = connection.grant_embargo() {
        return Err(refusal);
    }
    let mut text = [0; OwnerToken::MAX_BYTES];
    let text = owner.encode(&mut text);
    let sent = Moment::now();
    let waited = micros(sent.at.saturating_duration_since(since));
    let lasts = channel.counter_lasts(ttl, fenced);
    let args = (text, millis(ttl), lasts, &*connection.name, waited);
    // Before the server can have anything to tell.
    channel.registry().register(key, owner);
    registered();
    let answer = ACQUIRE_OR_ENQUEUE
        .invoke(&mut connection.commands, channel.form().first_enqueue(), &RedisKey::all(key), args)
        .await
        .map_err(classify);
    let answer = answer.inspect_err(|error| channel.failed(&connection, error))?;
    connection.answered(sent);
    channel.form().enqueue_worked();
    let (kind, value, ask_every, holder, is_first): Asked = answer;
    let busy = |pttl| busy(key, pttl, holder.as_deref());
    let (acquired, unknown_queue) = match (kind, value) {
        (1, fence) => {
            channel.registry().granted(owner);
            (granted(fence, fenced)?, false)
        }
        (0, Some(pttl)) => {
            channel.queue_was_met();
            channel.registry().enqueued(owner, is_first);
            (busy(pttl), false)
        }
        (2, Some(pttl)) => {
            channel.registry().unregister(owner);
            (busy(pttl), true)
        }
        _ => return Err(nonsense("an acquire that enqueues answers numbers and a value")),
    };
    Ok(Answer { acquired, unknown_queue, ask_every: ask_every.map(Duration::from_millis) })
}

/// A release's answer when the key was released and the named waiter is not in the wait queue.
const NAMED_WAITER_MUST_ASK: i64 = -2;

/// Releases the key, and hands it over to the named waiter if that waiter has waited longest.
pub(in super::super) async fn release_and_hand_over(
    key: &Key,
    owner: &OwnerToken,
    hand_over: &mut DirectHandOver,
    form: &ReleaseForm,
) -> Result<bool, StoreError> {
    if hand_over.connection().grant_embargo().is_some() {
        hand_over.end(DirectOutcome::Unknown);
        return release(&mut hand_over.connection().commands, key, owner, &ReleaseForm::lock_only()).await;
    }
    let mut text = [0; OwnerToken::MAX_BYTES];
    let text = owner.encode(&mut text);
    let NextWaiter { owner: waiter, ttl, fenced, waiting_since } = *hand_over.named();
    let mut waiter_text = [0; OwnerToken::MAX_BYTES];
    let waiter = waiter.encode(&mut waiter_text);
    let channel = Arc::clone(&hand_over.connection().name);
    let lasts = hand_over.counter_lasts();
    let args = (text, waiter, millis(ttl), lasts, &*channel, micros(waiting_since.elapsed()));
    let mut named = if fenced { NamedKeys::All } else { form.keys_of_release() };
    let (since, answer) = loop {
        let since = Moment::now();
        let commands = &mut hand_over.connection().commands;
        let answer = RELEASE.invoke(commands, form.first(), named.of(&RedisKey::all(key)), &args).await;
        if answer.is_ok() {
            hand_over.connection().answered(since);
        }
        match answer {
            Ok(Value::Int(NEEDS_ALL_KEYS)) if named == NamedKeys::WithQueue => {
                form.queue_was_met();
                named = NamedKeys::All;
            }
            Err(error) if is_refused(&error) => {
                hand_over.end(DirectOutcome::Unknown);
                return release(&mut hand_over.connection().commands, key, owner, form).await;
            }
            answer => break (since, answer),
        }
    };
    let (outcome, released) = match answer {
        Ok(Value::Array(pair)) => {
            let fence = match &*pair {
                [Value::Int(2), Value::Int(fence)] => u64::try_from(*fence).ok().map(FencingToken::new),
                [Value::Int(2), Value::Nil] => None,
                _ => return Err(nonsense("a release answers a pair of numbers")),
            };
            (DirectOutcome::HandedOver(HandOver::new(since, ttl).with_fence(fence)), Ok(true))
        }
        Ok(Value::Int(NAMED_WAITER_MUST_ASK)) => (DirectOutcome::Unknown, Ok(true)),
        answer => {
            let released = owned(answer.and_then(|answer| Ok(redis::from_redis_value(answer)?)));
            if let Err(error) = &released {
                hand_over.failed(error);
            }
            let queued = matches!(released, Ok(true));
            (if queued { DirectOutcome::Queued } else { DirectOutcome::Unknown }, released)
        }
    };
    if released.is_ok() {
        form.worked(ReleaseWay::Script(named), false);
    }
    hand_over.end(outcome);
    released
}
