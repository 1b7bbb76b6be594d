//! Leases on one Redis server, over whatever connection [`Connector`] gives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, RedisResult, Value, aio::ConnectionLike};

use tokio::time::Instant;

use super::{Acquired, Enqueue, HandOver, HintFuture, Holder, NextWaiter, Store, StoreFuture};
use crate::{
    clock::Moment,
    error::{LockError, StoreError, StoreErrorKind},
    key::Key,
    limits::{DEFAULT_CONNECT_TIMEOUT, DEFAULT_RESPONSE_TIMEOUT},
    token::{FencingToken, OwnerToken},
};

mod connect;
mod errors;
mod restart;
mod script;
mod wait;

pub(crate) use connect::{CallerConnection, Connector, PerRuntimeConnection};
use errors::{classify, nonsense};
use script::{First, Script};
use wait::channel::{DirectHandOver, DirectOutcome, WaitChannel};

const RENEW_LUA: &str = concat!(include_str!("lua/renew.lua"), include_str!("lua/not_the_owners.lua"));
/// A free line is done with before Lua so much as defines a function.
const RELEASE_LUA: &str = concat!(
    include_str!("lua/release.lua"),
    include_str!("lua/hand_over.lua"),
    include_str!("lua/release_queued.lua"),
    include_str!("lua/not_the_owners.lua")
);
const RELEASE_FROM_NODE_LUA: &str =
    concat!(include_str!("lua/release_from_node.lua"), include_str!("lua/not_the_owners.lua"));
const STAND_IN_LINE_LUA: &str =
    concat!(include_str!("lua/hand_over.lua"), include_str!("lua/acquire_or_enqueue.lua"));
const ACQUIRE_FENCED_LUA: &str = include_str!("lua/acquire_fenced.lua");
const RAISE_FENCE_LUA: &str = include_str!("lua/raise_fence.lua");
static RENEW: Script = Script::new(RENEW_LUA, || Script::sha1(RENEW_LUA));
static RELEASE_FROM_NODE: Script = Script::new(RELEASE_FROM_NODE_LUA, || Script::sha1(RELEASE_FROM_NODE_LUA));
static RELEASE: Script = Script::new(RELEASE_LUA, || Script::sha1(RELEASE_LUA));
static STAND_IN_LINE: Script = Script::new(STAND_IN_LINE_LUA, || Script::sha1(STAND_IN_LINE_LUA));
static RAISE_FENCE: Script = Script::new(RAISE_FENCE_LUA, || Script::sha1(RAISE_FENCE_LUA));
static ACQUIRE_FENCED: Script = Script::new(ACQUIRE_FENCED_LUA, || Script::sha1(ACQUIRE_FENCED_LUA));

/// How long a key's fence outlives its last grant; after that the server's clock keeps tokens rising.
const FENCE_TTL: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Keeps leases on one Redis or Valkey server, over one connection per tokio runtime that uses it.
///
/// An acquire is `SET key owner NX PX ttl`; renewal and release are Lua scripts that compare the owner token first.
pub struct RedisStore<C = PerRuntimeConnection> {
    inner: Arc<Inner<C>>,
}

/// What a store shares with its operations under way.
struct Inner<C> {
    connect: C,
    /// The server is likely to know the script.
    has_released: AtomicBool,
    /// A quorum's: nobody stands in line there, and a release does not look for them.
    is_node: bool,
}

impl<C: Connector> Inner<C> {
    /// One round trip from the first release on: nothing that is sent later is to come first.
    fn how_to_release(&self) -> First {
        if self.has_released.load(Ordering::Relaxed) { First::ByHash } else { First::ByText }
    }

    /// Hears of the end of an owner's release.
    fn released(&self, owner: &OwnerToken, released: &Result<bool, StoreError>) {
        if released.is_ok() && self.how_to_release() == First::ByText {
            self.has_released.store(true, Ordering::Relaxed);
        }
        self.connect.left(owner);
    }
}

/// What a connection is wanted for.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    /// A lease that may be granted.
    Grant,
    Other,
}

impl RedisStore {
    /// The store at a `redis://` or `rediss://` URL, with the default timeouts. Nothing is sent: the first use connects.
    ///
    /// # Errors
    /// [`LockError::Config`] for a URL that is not understood.
    pub fn open(url: &str) -> Result<Self, LockError> {
        Self::open_with(url, DEFAULT_RESPONSE_TIMEOUT, DEFAULT_CONNECT_TIMEOUT, None)
    }

    /// The same, also as a quorum's node with its restart delay.
    pub(crate) fn open_with(
        url: &str,
        response_timeout: Duration,
        connect_timeout: Duration,
        node: Option<Duration>,
    ) -> Result<Self, LockError> {
        let config = |reason| LockError::Config { key: String::new(), reason };
        for (name, timeout) in [("response_timeout", response_timeout), ("connect_timeout", connect_timeout)]
        {
            if timeout.is_zero() {
                let reason = format!(
                    "{name} is zero, so that nothing could ever be answered; give it a duration above zero"
                );
                return Err(config(reason));
            }
        }
        #[cfg(feature = "tls")]
        connect::ensure_crypto_provider();
        // The URL may hold a password: nothing of it is repeated.
        let client = redis::Client::open(url).map_err(|error| {
            let what = error.category();
            config(format!(
                "the Redis URL is not valid ({what}); write redis://[user:password@]host[:port][/db]"
            ))
        })?;
        let restart_delay = node.unwrap_or_default();
        let connect = PerRuntimeConnection::new(client, response_timeout, connect_timeout, restart_delay);
        Ok(Self::over(connect, node.is_some()))
    }

    /// Host and port, for messages.
    pub(crate) fn address(&self) -> String {
        self.inner.connect.address()
    }

    /// Asks whether the server answers.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        let ping = async {
            let (mut connection, _) = self.inner.connect.connection().await?;
            redis::cmd("PING").query_async::<()>(&mut connection).await.map_err(classify)
        };
        ping.await.map_err(|error| error.at(&self.address()))
    }
}

impl<C: Connector> RedisStore<C> {
    pub(crate) fn new(connect: C) -> Self {
        Self::over(connect, false)
    }

    fn over(connect: C, is_node: bool) -> Self {
        Self { inner: Arc::new(Inner { connect, has_released: AtomicBool::new(false), is_node }) }
    }

    /// A future that owns its connection, key and owner token: see [`StoreFuture`].
    fn with_connection<T, F>(
        &self,
        purpose: Purpose,
        operation: impl FnOnce(C::Connection) -> F + Send + 'static,
    ) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let inner = Arc::clone(&self.inner);
        // The connection is looked up at the first poll: it belongs to the runtime that polls.
        Box::pin(async move {
            let (connection, origin) = inner.connect.connection().await?;
            if purpose == Purpose::Grant
                && let Some(rest) = inner.connect.grant_embargo(&origin)
            {
                let detail = format!(
                    "the server was started a short time ago, perhaps without its data, and grants nothing for another {rest:.0?} (restart_delay)"
                );
                return Err(StoreError::new(StoreErrorKind::Unavailable, detail));
            }
            operation(connection).await.inspect_err(|error| inner.connect.failed(&origin, error))
        })
    }
}

impl<C: Connector> Store for RedisStore<C> {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (key, owner) = (key.clone(), *owner);
        self.with_connection(Purpose::Grant, move |mut connection| async move {
            acquire(&mut connection, &key, &owner, ttl, fenced).await
        })
    }

    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        let (key, owner) = (key.clone(), *owner);
        self.with_connection(Purpose::Grant, move |mut connection| async move {
            acquire_fenced(&mut connection, &key, &owner, ttl, Some(proposal)).await
        })
    }

    fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.with_connection(Purpose::Other, move |mut connection| async move {
            let mut text = [0; 36];
            let args = (owner.encode(&mut text), fence.value(), millis(FENCE_TTL));
            let keys = [key.as_str(), &fence_key(&key)];
            owned(RAISE_FENCE.run(&mut connection, First::ByHash, &keys, args).await)
        })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.with_connection(Purpose::Other, move |mut connection| async move {
            let mut text = [0; 36];
            let args = (owner.encode(&mut text), millis(ttl));
            owned(RENEW.run(&mut connection, First::ByHash, &[key.as_str()], args).await)
        })
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.inner.connect.leaves(owner);
        let (inner, key, owner) = (Arc::clone(&self.inner), key.clone(), *owner);
        Box::pin(async move {
            let (mut connection, origin) = inner.connect.connection().await?;
            let how = inner.how_to_release();
            let released = if inner.is_node {
                let mut text = [0; 36];
                let owner = owner.encode(&mut text);
                owned(RELEASE_FROM_NODE.run(&mut connection, how, &[key.as_str()], owner).await)
            } else {
                release(&mut connection, &key, &owner, how).await
            };
            inner.released(&owner, &released);
            released.inspect_err(|error| inner.connect.failed(&origin, error))
        })
    }

    fn release_and_hand_over(&self, key: &Key, owner: &OwnerToken, next: NextWaiter) -> StoreFuture<bool> {
        let Some(mut offer) = self.inner.connect.offer(key, &next) else { return self.release(key, owner) };
        self.inner.connect.leaves(owner);
        let (inner, key, owner) = (Arc::clone(&self.inner), key.clone(), *owner);
        Box::pin(async move {
            let released = release_and_hand_over(&key, &owner, &mut offer, inner.how_to_release()).await;
            inner.released(&owner, &released);
            released
        })
    }

    fn keeps_order(&self) -> bool {
        C::KEEPS_ORDER
    }

    fn register_waiter(&self, key: &Key, owner: &OwnerToken) -> bool {
        self.inner.connect.register_waiter(key, owner)
    }

    fn acquire_or_enqueue(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
        enqueue: Enqueue,
    ) -> StoreFuture<Acquired> {
        let (inner, key, owner) = (Arc::clone(&self.inner), key.clone(), *owner);
        Box::pin(async move {
            let connect = &inner.connect;
            // A free key costs what it costs without lines.
            if !enqueue.contended && !fenced {
                let (mut connection, origin) = connect.connection().await?;
                let granted = set(&mut connection, &key, &owner, ttl).await;
                if granted.inspect_err(|error| connect.failed(&origin, error))? {
                    return Ok(Acquired::Granted { fence: None });
                }
            }
            if let Some(line) = connect.line() {
                // Boxed, so that a free key does not carry the weight of a taken one.
                match Box::pin(in_line(&line, &key, &owner, ttl, fenced, enqueue.waiting_since)).await {
                    Err(error) if error.kind() == StoreErrorKind::Refused => connect.lacks_lines(&error),
                    answer => return answer,
                }
            }
            let (mut connection, origin) = connect.connection().await?;
            let answer = acquire(&mut connection, &key, &owner, ttl, fenced).await;
            answer.inspect_err(|error| connect.failed(&origin, error))
        })
    }

    fn is_queued(&self, owner: &OwnerToken) -> bool {
        self.inner.connect.line().is_some_and(|line| line.has(owner))
    }

    fn hint(&self, _key: &Key, owner: &OwnerToken) -> HintFuture {
        match self.inner.connect.line() {
            Some(line) => Box::pin(line.hint(*owner)),
            None => Box::pin(std::future::pending()),
        }
    }

    fn wait_for_change(&self, key: &Key) -> HintFuture {
        match self.inner.connect.line() {
            Some(line) => Box::pin(line.watch(key.clone())),
            None => Box::pin(std::future::pending()),
        }
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let key = key.clone();
        self.with_connection(Purpose::Other, move |mut connection| async move {
            Ok(look(&mut connection, &key).await?.map(|(_, holder)| holder))
        })
    }
}

/// One command when the key is free; when it is not, a second round trip tells whose it is and for how long.
async fn acquire(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    fenced: bool,
) -> Result<Acquired, StoreError> {
    if fenced {
        return acquire_fenced(connection, key, owner, ttl, None).await;
    }
    if set(connection, key, owner, ttl).await? {
        return Ok(Acquired::Granted { fence: None });
    }
    let mut text = [0; 36];
    Ok(match look(connection, key).await? {
        // NX refuses our own token too: the acquire was sent twice, and the first one was granted.
        Some((holder, _)) if holder == owner.encode(&mut text).as_bytes() => {
            Acquired::Granted { fence: None }
        }
        Some((_, holder)) => Acquired::Busy { remaining: holder.remaining },
        // It lapsed or was released between the two commands.
        None => Acquired::Busy { remaining: Some(Duration::ZERO) },
    })
}

/// `SET NX`: whether nobody had the key.
async fn set(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
) -> Result<bool, StoreError> {
    let mut text = [0; 36];
    let mut set = Cmd::with_capacity(6, 64 + key.as_str().len());
    set.arg("SET").arg(key.as_str()).arg(owner.encode(&mut text)).arg("NX").arg("PX").arg(millis(ttl));
    match set.query_async(connection).await.map_err(classify)? {
        Value::Okay => Ok(true),
        Value::Nil => Ok(false),
        _ => Err(nonsense("SET answers OK or nil")),
    }
}

async fn release(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
    owner: &OwnerToken,
    how: First,
) -> Result<bool, StoreError> {
    let mut text = [0; 36];
    let args = (owner.encode(&mut text), key.line());
    owned(RELEASE.run(connection, how, &[key.as_str()], args).await)
}

/// A release that brings somebody along, over the connection on which he listens: what he is told later happened later than this.
async fn release_and_hand_over(
    key: &Key,
    owner: &OwnerToken,
    offer: &mut DirectHandOver,
    how: First,
) -> Result<bool, StoreError> {
    let mut text = [0; 36];
    let args =
        (owner.encode(&mut text), key.line(), offer.entry(), micros(offer.next.waiting_since.elapsed()));
    let since = Moment::now();
    let answer = RELEASE.run(&mut offer.connection.commands, how, &[key.as_str()], args).await;
    if answer.is_ok() {
        offer.connection.answered(since);
    }
    let Ok(Value::Array(answer)) = answer else {
        let released = owned(answer.and_then(|answer| Ok(redis::from_redis_value(answer)?)));
        offer.end(match &released {
            Ok(true) => &DirectOutcome::InLine,
            Ok(false) => &DirectOutcome::Unknown,
            Err(error) => {
                offer.line.failed(&offer.connection, error);
                &DirectOutcome::Unknown
            }
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
    let lasts = wait::channel::lease(offer.next.ttl);
    offer.end(&DirectOutcome::Taken(HandOver { fence, since, lasts }));
    Ok(true)
}

/// Takes the key, or stands in its line.
async fn in_line(
    line: &Arc<WaitChannel>,
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    fenced: bool,
    since: Instant,
) -> Result<Acquired, StoreError> {
    let mut connection = line.connection().await?;
    let mut text = [0; 36];
    let text = owner.encode(&mut text);
    let waited = micros(since.elapsed());
    let args = (text, millis(ttl), key.line(), line.entry(text, ttl, fenced), waited, u8::from(fenced));
    // Listens before the server can have anything to tell.
    line.enter(key, owner);
    let sent = Moment::now();
    let answer = STAND_IN_LINE
        .run(&mut connection.commands, First::ByHash, &[key.as_str()], args)
        .await
        .map_err(classify);
    let answer = answer.inspect_err(|error| line.failed(&connection, error))?;
    connection.answered(sent);
    match answer {
        (1, fence) => {
            line.served(owner);
            granted(fence, fenced)
        }
        (0, Some(pttl)) => Ok(Acquired::Busy { remaining: remaining(pttl) }),
        _ => Err(nonsense("a line answers a pair of numbers")),
    }
}

async fn acquire_fenced(
    connection: &mut impl ConnectionLike,
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
    proposal: Option<FencingToken>,
) -> Result<Acquired, StoreError> {
    let mut text = [0; 36];
    let proposal = proposal.map(|fence| fence.value().to_string()).unwrap_or_default();
    let args = (owner.encode(&mut text), millis(ttl), millis(FENCE_TTL.max(ttl)), proposal);
    let keys = [key.as_str(), &fence_key(key)];
    match ACQUIRE_FENCED.run(connection, First::ByHash, &keys, args).await.map_err(classify)? {
        (1, fence) => granted(fence, true),
        (0, Some(pttl)) => Ok(Acquired::Busy { remaining: remaining(pttl) }),
        _ => Err(nonsense("the fenced acquire answers a pair of numbers")),
    }
}

/// A grant, with the fencing token that the script drew.
fn granted(fence: Option<i64>, fenced: bool) -> Result<Acquired, StoreError> {
    let fence =
        fence.and_then(|fence| u64::try_from(fence).ok()).filter(|fence| *fence > 0).map(FencingToken::new);
    if fenced && fence.is_none() {
        let detail = "the key's fencing counter is gone while its lock is held";
        return Err(StoreError::new(StoreErrorKind::Nonsense, detail));
    }
    Ok(Acquired::Granted { fence })
}

/// The lock key's value and its holder.
async fn look(
    connection: &mut (impl ConnectionLike + Send),
    key: &Key,
) -> Result<Option<(Vec<u8>, Holder)>, StoreError> {
    let mut both = redis::Pipeline::with_capacity(2);
    both.cmd("GET").arg(key.as_str()).cmd("PTTL").arg(key.as_str());
    let (value, pttl): (Option<Vec<u8>>, i64) = both.query_async(connection).await.map_err(classify)?;
    Ok(value.filter(|_| pttl != PTTL_NO_KEY).map(|value| (value, Holder::new(remaining(pttl)))))
}

const PTTL_NO_KEY: i64 = -2;

/// What PTTL says of a key; it answers -1 for one without expiry.
fn remaining(pttl: i64) -> Option<Duration> {
    match pttl {
        PTTL_NO_KEY => Some(Duration::ZERO),
        _ => u64::try_from(pttl).ok().map(Duration::from_millis),
    }
}

/// A key that holds another type is not the owner's.
fn owned(answer: RedisResult<i64>) -> Result<bool, StoreError> {
    match answer.map_err(classify) {
        Ok(0) => Ok(false),
        Ok(1) => Ok(true),
        Ok(_) => Err(nonsense("renewals, releases and raises answer 0 or 1")),
        Err(error) if error.kind() == StoreErrorKind::WrongType => Ok(false),
        Err(error) => Err(error),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where the key's fencing counter lives: beside its line.
fn fence_key(key: &Key) -> String {
    key.line().replacen("distlock-line:", "distlock-fence:", 1)
}
