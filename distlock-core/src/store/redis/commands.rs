//! The commands of a lease, as functions over a connection, and what their answers mean.

use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value, aio::ConnectionLike};
use tokio::time::Instant;

use super::{
    contended::ContendedKeys,
    errors::{classify, name_denied, nonsense},
    keys::RedisKey,
    release_form::{NEEDS_ALL_KEYS, NamedKeys, ReleaseForm, ReleaseWay},
    script::{First, Script},
};
use crate::{
    error::{StoreError, StoreErrorKind},
    holder::Holder,
    key::Key,
    store::Acquired,
    token::{FencingToken, OwnerToken},
};

const RENEW_LUA: &str = concat!(include_str!("lua/renew.lua"), include_str!("lua/not_the_owners.lua"));
const RENEW_ON_NODE_LUA: &str =
    concat!(include_str!("lua/renew_on_node.lua"), include_str!("lua/not_the_owners.lua"));
/// The release of a key without waiters ends before Lua has defined a function.
const RELEASE_LUA: &str = concat!(
    include_str!("lua/limits.lua"),
    include_str!("lua/release.lua"),
    include_str!("lua/draw.lua"),
    include_str!("lua/queue.lua"),
    include_str!("lua/hand_over.lua"),
    include_str!("lua/foreign.lua"),
    include_str!("lua/release_queued.lua"),
    include_str!("lua/not_the_owners.lua")
);
pub(super) const RELEASE_LOCK_LUA: &str =
    concat!(include_str!("lua/release_lock.lua"), include_str!("lua/not_the_owners.lua"));
const ACQUIRE_FENCED_LUA: &str =
    concat!(include_str!("lua/draw.lua"), include_str!("lua/acquire_fenced.lua"));
const CONFIRM_LUA: &str = concat!(
    include_str!("lua/limits.lua"),
    include_str!("lua/queue.lua"),
    include_str!("lua/confirm_hand_over.lua"),
    include_str!("lua/not_the_owners.lua")
);
const RAISE_FENCE_LUA: &str = include_str!("lua/raise_fence.lua");
static RENEW: Script = Script::new(RENEW_LUA, || Script::sha1(RENEW_LUA));
static RENEW_ON_NODE: Script = Script::new(RENEW_ON_NODE_LUA, || Script::sha1(RENEW_ON_NODE_LUA));
pub(super) static RELEASE: Script = Script::new(RELEASE_LUA, || Script::sha1(RELEASE_LUA));
static RELEASE_LOCK: Script = Script::new(RELEASE_LOCK_LUA, || Script::sha1(RELEASE_LOCK_LUA));
static CONFIRM: Script = Script::new(CONFIRM_LUA, || Script::sha1(CONFIRM_LUA));
static ACQUIRE_FENCED: Script = Script::new(ACQUIRE_FENCED_LUA, || Script::sha1(ACQUIRE_FENCED_LUA));
static RAISE_FENCE: Script = Script::new(RAISE_FENCE_LUA, || Script::sha1(RAISE_FENCE_LUA));

/// Takes the key if it is free.
///
/// A key that is held costs a second round trip, which reads the holder. For a key that is noted as contended
/// both go in one, at the price of two more commands if the key is free.
///
/// With a `fence_lifetime` it draws a fencing token, and the key's counter lasts for that long.
pub(super) async fn acquire(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    fence_lifetime: Option<Duration>,
    contended: &ContendedKeys,
    form: &ReleaseForm,
) -> Result<Acquired, StoreError> {
    if let Some(lifetime) = fence_lifetime {
        return acquire_fenced(connection, key, owner, ttl, lifetime, None, form).await;
    }
    let found = if contended.contains(key, Instant::now) {
        let mut all = redis::Pipeline::with_capacity(3);
        all.add_command(set_nx(key, owner, ttl));
        read_holder(&mut all, key).ignore_errors();
        let (set, value, pttl): (RedisResult<Value>, RedisResult<_>, RedisResult<_>) =
            all.query_async(connection).await.map_err(classify)?;
        if was_set(key, set)? {
            // Whatever the other two commands answer, the key is the owner's.
            return Ok(Acquired::Granted { fence: None });
        }
        let classify_for = |error| classify_for(key, error);
        found(key, value.map_err(classify_for)?, pttl.map_err(classify_for)?)
    } else {
        if set_if_free(connection, key, owner, ttl).await? {
            return Ok(Acquired::Granted { fence: None });
        }
        look(connection, key).await?
    };
    contended.note(key, Instant::now());
    let mut text = [0; OwnerToken::MAX_BYTES];
    Ok(match found {
        // NX refuses the owner's own token, too: the acquire was sent twice, and the first one was granted.
        Some((value, _)) if value == owner.encode(&mut text).as_bytes() => Acquired::Granted { fence: None },
        Some((_, holder)) => Acquired::busy(holder.remaining).held_by(holder),
        // The lease ended between the two commands.
        None => Acquired::busy(Some(Duration::ZERO)),
    })
}

/// Takes the key if it is free, and draws a fencing token with a `fence_lifetime`; `None` if the key is held.
pub(super) async fn take_if_free(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    fence_lifetime: Option<Duration>,
    form: &ReleaseForm,
) -> Result<Option<Acquired>, StoreError> {
    let Some(lifetime) = fence_lifetime else {
        let is_set = set_if_free(connection, key, owner, ttl).await?;
        return Ok(is_set.then_some(Acquired::Granted { fence: None }));
    };
    // Boxed: the acquire of a free key without a token does not carry the size of this future.
    let answer = Box::pin(acquire_fenced(connection, key, owner, ttl, lifetime, None, form)).await?;
    Ok(Some(answer).filter(|answer| matches!(answer, Acquired::Granted { .. })))
}

/// Takes the key by `SET NX`. Answers whether it was free.
pub(super) async fn set_if_free(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
) -> Result<bool, StoreError> {
    was_set(key, set_nx(key, owner, ttl).query_async(connection).await)
}

fn set_nx(key: &Key, owner: &OwnerToken, ttl: Duration) -> Cmd {
    let mut text = [0; OwnerToken::MAX_BYTES];
    let mut set = Cmd::with_capacity(6, 64 + key.as_str().len());
    set.arg("SET").arg(RedisKey::lock(key)).arg(owner.encode_bytes(&mut text));
    set.arg("NX").arg("PX").arg(millis(ttl));
    set
}

/// Whether `SET NX` has found the key free.
fn was_set(key: &Key, answer: RedisResult<Value>) -> Result<bool, StoreError> {
    match answer.map_err(|error| classify_for(key, error))? {
        Value::Okay => Ok(true),
        Value::Nil => Ok(false),
        _ => Err(nonsense("SET answers OK or nil")),
    }
}

/// Takes the key if it is free, and draws a fencing token, whose counter lasts for `lifetime`. A node of a
/// quorum draws at the `proposal`.
pub(super) async fn acquire_fenced(
    connection: &mut impl ConnectionLike,
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    lifetime: Duration,
    proposal: Option<FencingToken>,
    form: &ReleaseForm,
) -> Result<Acquired, StoreError> {
    let mut text = [0; OwnerToken::MAX_BYTES];
    let proposal = proposal.map(|fence| fence.value().to_string()).unwrap_or_default();
    let args = (owner.encode(&mut text), millis(ttl), millis(lifetime.max(ttl)), proposal);
    let keys = [RedisKey::lock(key), RedisKey::fencing_counter(key)];
    let answer =
        ACQUIRE_FENCED.invoke(connection, form.first_fenced(), &keys, args).await.map_err(classify)?;
    form.fenced_worked();
    if let Value::Int(fence) = answer {
        return granted(Some(fence), true);
    }
    let refused = redis::from_redis_value::<(i64, Option<i64>, Option<Vec<u8>>)>(answer);
    match refused.map_err(|error| classify(error.into()))? {
        (1, fence, _) => granted(fence, true),
        (0, Some(pttl), holder) => Ok(busy(key, pttl, holder.as_deref())),
        _ => Err(nonsense("the fenced acquire answers a token, or two numbers and a value")),
    }
}

/// A refusal, from PTTL's answer and the holder's value.
pub(super) fn busy(key: &Key, pttl: i64, value: Option<&[u8]>) -> Acquired {
    let busy = Acquired::busy(remaining(pttl));
    match value {
        Some(value) => busy.held_by(Holder::stored(key.name(), value)),
        None => busy,
    }
}

/// Raises the key's fencing counter while the owner holds the key.
pub(super) async fn raise_fence(
    connection: &mut impl ConnectionLike,
    key: &Key,
    owner: &OwnerToken,
    fence: FencingToken,
    lifetime: Duration,
) -> Result<bool, StoreError> {
    let mut text = [0; OwnerToken::MAX_BYTES];
    let args = (owner.encode(&mut text), fence.value(), millis(lifetime));
    let keys = [RedisKey::lock(key), RedisKey::fencing_counter(key)];
    owned(RAISE_FENCE.invoke(connection, First::ByHash, &keys, args).await)
}

/// Lets the owner's lease last `ttl` from now: by a script, or by `SET .. IFEQ` where scripts are refused and
/// the server has it (Valkey 8.1, Redis 8.4).
pub(super) async fn renew(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    form: &ReleaseForm,
) -> Result<bool, StoreError> {
    if form.renews_by_set() {
        match renew_by_set(connection, key, owner, ttl).await {
            Err(error) if error.kind() == StoreErrorKind::Refused => {}
            answer => return answer,
        }
    }
    match renew_by_script(connection, key, owner, ttl, form).await {
        Err(refusal) if refusal.kind() == StoreErrorKind::Refused => {
            match renew_by_set(connection, key, owner, ttl).await {
                // The first one names what is missing.
                Err(error) if error.kind() == StoreErrorKind::Refused => Err(refusal),
                answer => {
                    if answer.is_ok() {
                        form.renewal_by_set_worked();
                    }
                    answer
                }
            }
        }
        answer => answer,
    }
}

async fn renew_by_script(
    connection: &mut impl ConnectionLike,
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    form: &ReleaseForm,
) -> Result<bool, StoreError> {
    let mut text = [0; OwnerToken::MAX_BYTES];
    let args = (owner.encode(&mut text), millis(ttl));
    let keys = [RedisKey::lock(key), RedisKey::broken_owners(key)];
    // The lock of a single server is renewed by its key alone.
    let (script, named) = if form.has_queues() { (&RENEW, &keys[..1]) } else { (&RENEW_ON_NODE, &keys[..]) };
    owned(script.invoke(connection, First::ByHash, named, args).await)
}

/// Unlike the script's PEXPIRE, it is refused when memory is full. It reads no broken owners, of which a node
/// that refuses scripts has none.
async fn renew_by_set(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
) -> Result<bool, StoreError> {
    let mut text = [0; OwnerToken::MAX_BYTES];
    let owner = owner.encode_bytes(&mut text);
    let mut set = redis::cmd("SET");
    set.arg(RedisKey::lock(key)).arg(owner).arg("IFEQ").arg(owner).arg("PX").arg(millis(ttl));
    let answer = was_set(key, set.query_async(connection).await);
    answer.or_else(not_of_another_type)
}

/// Confirms a lease that was handed over, and lets it last `ttl` from now.
pub(super) async fn confirm_hand_over(
    connection: &mut impl ConnectionLike,
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    form: &ReleaseForm,
) -> Result<bool, StoreError> {
    let mut text = [0; OwnerToken::MAX_BYTES];
    let args = (owner.encode(&mut text), millis(ttl));
    // One round trip, like a release: the body that begins now may block the thread that would send another.
    let first = form.first_claim();
    let confirmed = owned(CONFIRM.invoke(connection, first, &RedisKey::all(key)[..4], args).await);
    if confirmed.is_ok() {
        form.claim_worked();
    }
    confirmed
}

/// Ends the owner's lease, and hands the key to the first waiter in its wait queue.
///
/// Where the server refuses that script, it ends the lease by what the server has: by a command of its own,
/// or by the script that names the lock's key alone.
pub(super) async fn release(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    form: &ReleaseForm,
) -> Result<bool, StoreError> {
    let (mut way, mut others) = form.ways();
    let mut refusal = None;
    loop {
        let error = match release_by(way, connection, key, owner, form).await {
            Err(error) if error.kind() == StoreErrorKind::Refused => error,
            answer => {
                if answer.is_ok() {
                    form.worked(way, refusal.is_some());
                }
                return answer;
            }
        };
        // The refusal of a script names what is missing.
        let error = match (refusal.take(), way) {
            (Some(earlier), ReleaseWay::DelIfEq | ReleaseWay::DelEx) => earlier,
            _ => error,
        };
        let Some(next) = others.next() else { return Err(error) };
        (way, refusal) = (next, Some(error));
    }
}

/// Ends the owner's lease in one of the ways.
async fn release_by(
    way: ReleaseWay,
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    form: &ReleaseForm,
) -> Result<bool, StoreError> {
    let (mut text, lock) = ([0; OwnerToken::MAX_BYTES], RedisKey::lock(key));
    let owner = owner.encode_bytes(&mut text);
    let mut named = match way {
        ReleaseWay::Script(named) => named,
        ReleaseWay::DelIfEq => {
            let answer = redis::cmd("DELIFEQ").arg(lock).arg(owner).query_async(connection).await;
            return owned(answer.map_err(|error| name_denied(error, lock, None)));
        }
        ReleaseWay::DelEx => {
            let answer = redis::cmd("DELEX").arg(lock).arg("IFEQ").arg(owner).query_async(connection).await;
            return owned(answer.map_err(|error| name_denied(error, lock, None)));
        }
    };
    loop {
        let script = if named == NamedKeys::Lock { &RELEASE_LOCK } else { &RELEASE };
        match script.invoke(connection, form.first(), named.of(&RedisKey::all(key)), owner).await {
            Ok(NEEDS_ALL_KEYS) if named == NamedKeys::WithQueue => {
                form.queue_was_met();
                named = NamedKeys::All;
            }
            answer => return owned(answer),
        }
    }
}

/// Reads the lock's value, and the holder; `None` if the key is free.
pub(super) async fn look(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
) -> Result<Option<(Vec<u8>, Holder)>, StoreError> {
    let mut both = redis::Pipeline::with_capacity(2);
    let both = read_holder(&mut both, key).query_async(connection).await;
    let (value, pttl) = both.map_err(|error| classify_for(key, error))?;
    Ok(found(key, value, pttl))
}

/// Adds the commands whose answers are judged by [`found`].
pub(super) fn read_holder<'a>(commands: &'a mut redis::Pipeline, key: &Key) -> &'a mut redis::Pipeline {
    let lock = RedisKey::lock(key);
    commands.cmd("GET").arg(lock).cmd("PTTL").arg(lock)
}

/// The lock's value, and the holder, from the answers of GET and PTTL.
pub(super) fn found(key: &Key, value: Option<Vec<u8>>, pttl: i64) -> Option<(Vec<u8>, Holder)> {
    value.filter(|_| pttl != PTTL_NO_KEY).map(|value| {
        let holder = Holder::stored(key.name(), &value).with_remaining(remaining(pttl));
        (value, holder)
    })
}

/// What an error of a command of one key means.
pub(super) fn classify_for(key: &Key, error: RedisError) -> StoreError {
    classify(name_denied(error, RedisKey::lock(key), None))
}

/// A grant, with the fencing token that the script drew.
pub(super) fn granted(fence: Option<i64>, fenced: bool) -> Result<Acquired, StoreError> {
    let fence =
        fence.and_then(|fence| u64::try_from(fence).ok()).filter(|fence| *fence > 0).map(FencingToken::new);
    if fenced && fence.is_none() {
        let detail = "the key's fencing counter is gone while its lock is held";
        return Err(StoreError::new(StoreErrorKind::Nonsense, detail));
    }
    Ok(Acquired::Granted { fence })
}

const PTTL_NO_KEY: i64 = -2;

/// What is left of a lease, from PTTL's answer, which is -1 for a key without expiry.
pub(super) fn remaining(pttl: i64) -> Option<Duration> {
    match pttl {
        PTTL_NO_KEY => Some(Duration::ZERO),
        _ => u64::try_from(pttl).ok().map(Duration::from_millis),
    }
}

/// Whether the key was the owner's. A key that holds another type is not.
pub(super) fn owned(answer: RedisResult<i64>) -> Result<bool, StoreError> {
    match answer.map_err(classify) {
        Ok(0) => Ok(false),
        Ok(1) => Ok(true),
        Ok(_) => Err(nonsense("renewals, releases and raises answer 0 or 1")),
        Err(error) => not_of_another_type(error),
    }
}

/// A key that holds another type is not the owner's.
fn not_of_another_type(error: StoreError) -> Result<bool, StoreError> {
    if error.kind() == StoreErrorKind::WrongType { Ok(false) } else { Err(error) }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
