//! Who holds a key, which keys are held, and how a lock is broken.

use std::time::Duration;

use redis::{FromRedisValue, Pipeline, RedisError, RedisResult, Value, aio::ConnectionLike};

use super::{
    commands::{classify_for, found, millis, owned, read_holder},
    errors::{classify, is_refused, nonsense},
    keys::RedisKey,
    script::{First, Script},
};
use crate::{
    error::{StoreError, StoreErrorKind},
    holder::{Holder, HolderId, HolderKind},
    key::Key,
};

const BREAK_LUA: &str = concat!(
    include_str!("lua/draw.lua"),
    include_str!("lua/queue.lua"),
    include_str!("lua/hand_over.lua"),
    include_str!("lua/break_lock.lua")
);
static BREAK: Script = Script::new(BREAK_LUA, || Script::sha1(BREAK_LUA));

/// How long a broken owner cannot take its key again at the least: longer than a quorum's other nodes have to
/// wait for the same break.
const BROKEN_FOR: Duration = Duration::from_secs(60);

/// How many names SCAN looks at before it answers. The server does nothing else meanwhile.
const NAMES_AT_ONCE: usize = 512;

/// The key's holder, with the number of its waiters if the store `has_queues`.
pub(super) async fn inspect(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    has_queues: bool,
) -> Result<Option<Holder>, StoreError> {
    read(connection, std::slice::from_ref(key), has_queues).await?.pop().unwrap_or(Ok(None))
}

/// Reads the holders of these keys, in one round trip.
async fn read(
    connection: &mut (impl ConnectionLike + Send),
    keys: &[Key],
    has_queues: bool,
) -> Result<Vec<Result<Option<Holder>, StoreError>>, StoreError> {
    let per_key = if has_queues { 3 } else { 2 };
    let mut commands = Pipeline::with_capacity(keys.len() * per_key);
    for key in keys {
        read_holder(&mut commands, key);
        if has_queues {
            commands.cmd("ZCARD").arg(RedisKey::order(key));
        }
    }
    let answers: Vec<RedisResult<Value>> =
        commands.ignore_errors().query_async(connection).await.map_err(classify)?;
    let mut answers = answers.into_iter();
    let holders = keys.iter().map(|key| {
        let (value, pttl) = (answer(key, answers.next()), answer(key, answers.next()));
        // Where the access rules do not cover the queue, the number is not known.
        let waiters = if has_queues { answer(key, answers.next()).ok() } else { None };
        Ok(found(key, value?, pttl?).map(|(_, holder)| holder.with_waiters(waiters)))
    });
    Ok(holders.collect())
}

/// An answer of a pipeline about a key.
fn answer<T: FromRedisValue>(key: &Key, answer: Option<RedisResult<Value>>) -> Result<T, StoreError> {
    let answer = answer.ok_or_else(|| nonsense("a pipeline answers each of its commands"))?;
    answer.and_then(|answer| Ok(T::from_redis_value(answer)?)).map_err(|error| classify_for(key, error))
}

/// A list of the holders in a namespace, and how far it has come.
pub(super) struct Listing {
    pub(super) namespace: String,
    pub(super) prefix: String,
    /// SCAN's cursor; `None` after the last page. Set by each page.
    cursor: Option<u64>,
}

impl Listing {
    pub(super) fn new(namespace: &str, prefix: &str) -> Self {
        Self { namespace: namespace.to_owned(), prefix: prefix.to_owned(), cursor: Some(0) }
    }

    /// Reads the next page; `None` after the last one.
    pub(super) async fn read_page(
        &mut self,
        connection: &mut (impl ConnectionLike + Send),
        has_queues: bool,
    ) -> Result<Option<Vec<Holder>>, StoreError> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(RedisKey::pattern(&self.namespace, &self.prefix));
        scan.arg("COUNT").arg(NAMES_AT_ONCE).arg("TYPE").arg("string");
        let (next, names): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await.map_err(scan_failed)?;
        let keys: Vec<_> = names.iter().filter_map(|name| RedisKey::parse(&self.namespace, name)).collect();
        let mut holders = Vec::with_capacity(keys.len());
        if !keys.is_empty() {
            for holder in read(connection, &keys, has_queues).await? {
                match holder {
                    // Without a namespace, most keys are none of the locks'.
                    Ok(holder) => {
                        let is_listed =
                            |one: &Holder| !self.namespace.is_empty() || one.kind != HolderKind::Foreign;
                        holders.extend(holder.filter(is_listed));
                    }
                    // It was replaced by something else since SCAN has found it.
                    Err(error) if error.kind() == StoreErrorKind::WrongType => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.cursor = Some(next).filter(|next| *next != 0);
        Ok(Some(holders))
    }
}

/// What an error of SCAN means, which reads no particular key.
fn scan_failed(error: RedisError) -> StoreError {
    if is_refused(&error) {
        let detail = "the server forbids the command SCAN, by which keys are listed; allow it by `+scan` to users \
                      that may see the names of all keys";
        return StoreError::new(StoreErrorKind::Refused, detail).with_source(error);
    }
    classify(error)
}

/// Ends the lease of a holder, whose owner cannot take the key again for some time.
pub(super) async fn break_lock(
    connection: &mut impl ConnectionLike,
    key: &Key,
    holder: HolderId,
) -> Result<bool, StoreError> {
    let args = (holder.to_string(), millis(BROKEN_FOR));
    let [lock, queue, order, entries, counter] = RedisKey::all(key);
    let keys = [lock, queue, order, entries, counter, RedisKey::broken_owners(key)];
    owned(BREAK.invoke(connection, First::ByHash, &keys, args).await)
}
