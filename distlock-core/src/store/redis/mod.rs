//! Leases on one Redis server, over whatever connection [`Connect`] gives.

use std::{sync::Arc, time::Duration};

use redis::{Cmd, FromRedisValue, RedisResult, Value, aio::ConnectionLike};

use super::{Acquired, Holder, Store, StoreFuture};
use crate::{
    error::{LockError, StoreError, StoreErrorKind},
    key::Key,
    lease::{FencingToken, OwnerToken},
    options::{DEFAULT_CONNECT_TIMEOUT, DEFAULT_RESPONSE_TIMEOUT},
};

mod connect;
mod failure;
mod script;

pub(crate) use connect::{Connect, Given, PerRuntimeConnection};
use failure::{classify, nonsense};
use script::Script;

const RENEW_LUA: &str = include_str!("renew.lua");
const RELEASE_LUA: &str = include_str!("release.lua");
const ACQUIRE_FENCED_LUA: &str = include_str!("acquire_fenced.lua");
static RENEW: Script = Script::new(RENEW_LUA, || Script::sha1(RENEW_LUA));
static RELEASE: Script = Script::new(RELEASE_LUA, || Script::sha1(RELEASE_LUA));
static ACQUIRE_FENCED: Script = Script::new(ACQUIRE_FENCED_LUA, || Script::sha1(ACQUIRE_FENCED_LUA));

/// How long a key's fence outlives its last grant; after that the server's clock keeps tokens rising.
const FENCE_TTL: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Keeps leases on one Redis or Valkey server, over one connection per tokio runtime that uses it.
///
/// An acquire is `SET key owner NX PX ttl`; renewal and release are Lua scripts that compare the owner token first.
pub struct RedisStore<C = PerRuntimeConnection> {
    connect: Arc<C>,
}

impl RedisStore {
    /// The store at a `redis://` or `rediss://` URL, with the default timeouts. Nothing is sent: the first use connects.
    ///
    /// # Errors
    /// [`LockError::Config`] for a URL that is not understood.
    pub fn open(url: &str) -> Result<Self, LockError> {
        Self::open_with(url, DEFAULT_RESPONSE_TIMEOUT, DEFAULT_CONNECT_TIMEOUT)
    }

    pub(crate) fn open_with(
        url: &str,
        response_timeout: Duration,
        connect_timeout: Duration,
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
        Ok(Self::new(PerRuntimeConnection::new(client, response_timeout, connect_timeout)))
    }

    /// Asks whether the server answers.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        let mut connection = self.connect.connection()?;
        send::<()>(&mut connection, &redis::cmd("PING"))
            .await
            .map_err(|error| classify(error).at(&self.connect.address()))
    }
}

impl<C: Connect> RedisStore<C> {
    pub(crate) fn new(connect: C) -> Self {
        Self { connect: Arc::new(connect) }
    }

    /// A future that owns its connection, key and owner token: see [`StoreFuture`].
    fn with_connection<T, F>(
        &self,
        operation: impl FnOnce(C::Connection) -> F + Send + 'static,
    ) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let connect = Arc::clone(&self.connect);
        // The connection is looked up at the first poll: it belongs to the runtime that polls.
        Box::pin(async move {
            let answer = operation(connect.connection()?).await;
            if let Err(error) = &answer {
                connect.failed(error);
            }
            answer
        })
    }
}

impl<C: Connect> Store for RedisStore<C> {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (key, owner) = (key.clone(), *owner);
        self.with_connection(move |mut connection| async move {
            if fenced {
                acquire_fenced(&mut connection, &key, &owner, ttl).await
            } else {
                acquire(&mut connection, &key, &owner, ttl).await
            }
        })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.with_connection(move |mut connection| async move {
            let mut text = [0; 36];
            let args = (owner.encode(&mut text), millis(ttl));
            owned(RENEW.run(&mut connection, &[key.as_str()], args).await)
        })
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.with_connection(move |mut connection| async move {
            let mut text = [0; 36];
            owned(RELEASE.run(&mut connection, &[key.as_str()], owner.encode(&mut text)).await)
        })
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let key = key.clone();
        self.with_connection(move |mut connection| async move {
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
) -> Result<Acquired, StoreError> {
    let mut text = [0; 36];
    let owner = owner.encode(&mut text);
    let mut set = Cmd::with_capacity(6, 64 + key.as_str().len());
    set.arg("SET").arg(key.as_str()).arg(owner).arg("NX").arg("PX").arg(millis(ttl));
    match send(connection, &set).await.map_err(classify)? {
        Value::Okay => Ok(Acquired::Granted { fence: None }),
        Value::Nil => match look(connection, key).await? {
            // NX refuses our own token too: the acquire was sent twice, and the first one was granted.
            Some((holder, _)) if holder == owner.as_bytes() => Ok(Acquired::Granted { fence: None }),
            Some((_, holder)) => Ok(Acquired::Held { remaining: holder.remaining }),
            // It lapsed or was released between the two commands.
            None => Ok(Acquired::Held { remaining: Some(Duration::ZERO) }),
        },
        _ => Err(nonsense("SET answers OK or nil")),
    }
}

async fn acquire_fenced(
    connection: &mut impl ConnectionLike,
    key: &Key,
    owner: &OwnerToken,
    ttl: Duration,
) -> Result<Acquired, StoreError> {
    let mut text = [0; 36];
    let args = (owner.encode(&mut text), millis(ttl), millis(FENCE_TTL.max(ttl)));
    let keys = [key.as_str(), &fence_key(key.as_str())];
    match ACQUIRE_FENCED.run(connection, &keys, args).await.map_err(classify)? {
        (1, Some(fence)) if fence > 0 => {
            let fence = Some(FencingToken::new(u64::try_from(fence).unwrap_or(0)));
            Ok(Acquired::Granted { fence })
        }
        (0, Some(pttl)) => Ok(Acquired::Held { remaining: remaining(pttl) }),
        (1, None::<i64>) => {
            let detail = "the key's fencing counter is gone while its lock is held";
            Err(StoreError::new(StoreErrorKind::Nonsense, detail))
        }
        _ => Err(nonsense("the fenced acquire answers a pair of numbers")),
    }
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
        Ok(_) => Err(nonsense("renew and release answer 0 or 1")),
        Err(error) if error.kind() == StoreErrorKind::WrongType => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a command; once more when no connection could be made, because the connection manager reports its last failure before it
/// tries anew, also when the server is long back.
async fn send<T: FromRedisValue>(connection: &mut impl ConnectionLike, command: &Cmd) -> RedisResult<T> {
    match command.query_async(connection).await {
        Err(error) if error.is_connection_refusal() => command.query_async(connection).await,
        answer => answer,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Where the key's fencing counter lives: in the lock key's hash slot on a cluster, and outside the locks' namespace, so that no lock key
/// can be taken for one.
fn fence_key(key: &str) -> String {
    let tagged = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .is_some_and(|(tag, _)| !tag.is_empty());
    if tagged { format!("distlock-fence:{key}") } else { format!("distlock-fence:{{{key}}}") }
}
