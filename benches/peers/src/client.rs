//! A lock on one server, taken with each library as its documentation says.

use std::{future::Future, sync::Arc, time::Duration};

use distlock::LockManager;
use distributed_lock_core::traits::{DistributedLock, LockHandle, LockProvider};
use redis::aio::MultiplexedConnection;
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;

pub const TTL: Duration = Duration::from_secs(30);
pub const RELEASE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A library and its settings: the defaults, or the best that were found.
#[derive(Clone)]
pub enum Client {
    /// Written by hand with redis-rs: `SET NX` and a compare-and-delete. It does not wait.
    Plain(MultiplexedConnection, Arc<redis::Script>),
    /// Written by hand with redis-rs: an element is popped from a list and pushed back, on a connection for
    /// each task. It is a yardstick and not a lock, because the element of a holder that has died is never
    /// pushed back.
    List(redis::Client),
    Distlock(LockManager),
    DistlockInBackground(LockManager),
    DistlockNotFair(LockManager),
    DistlockFenced(LockManager),
    Rslock(Arc<rslock::LockManager>),
    Rds(redis_032::aio::ConnectionManager, u64),
    Distributed(Arc<distributed_lock_redis::RedisLockProvider>),
    RedisLock(Arc<Mutex<redis_027::aio::MultiplexedConnection>>, Duration),
    Redlock(Arc<redlock::RedLock>),
}

/// The names for free keys, in the order of the tables.
pub const UNCONTENDED: [&str; 8] = [
    "redis-rs",
    "distlock",
    "distlock, background",
    "rslock",
    "rds_lock",
    "distributed-lock",
    "redis-lock",
    "redlock",
];
/// The names for contended keys, in the order of the tables.
pub const CONTENDED: [&str; 11] = [
    "blocking list",
    "distlock",
    "distlock, not fair",
    "rslock",
    "rslock, 5 ms",
    "rds_lock",
    "rds_lock, 5 ms",
    "distributed-lock",
    "redis-lock",
    "redis-lock, 5 ms",
    "redlock, 5 ms",
];

impl Client {
    /// Connects the library of that name.
    pub async fn named(name: &str, url: &str) -> Result<Self, Failure> {
        let fast = name.ends_with("5 ms");
        Ok(match name.split(',').next().unwrap_or_default() {
            "redis-rs" => Self::Plain(
                redis::Client::open(url)?.get_multiplexed_async_connection().await?,
                Arc::new(redis::Script::new(RELEASE)),
            ),
            "blocking list" => Self::List(redis::Client::open(url)?),
            "distlock" => {
                let manager = LockManager::connect(url).await?;
                match name {
                    "distlock, background" => Self::DistlockInBackground(manager),
                    "distlock, not fair" => Self::DistlockNotFair(manager),
                    "distlock, fenced" => Self::DistlockFenced(manager),
                    _ => Self::Distlock(manager),
                }
            }
            "rslock" => {
                let mut manager = rslock::LockManager::new(vec![url]);
                if fast {
                    manager.set_retry(1000, Duration::from_millis(5));
                }
                Self::Rslock(Arc::new(manager))
            }
            "rds_lock" => {
                let manager = redis_032::Client::open(url)?.get_connection_manager().await?;
                Self::Rds(manager, if fast { 5 } else { 100 })
            }
            "distributed-lock" => {
                Self::Distributed(Arc::new(distributed_lock_redis::RedisLockProvider::new(url).await?))
            }
            "redis-lock" => {
                let connection = redis_027::Client::open(url)?.get_multiplexed_async_connection().await?;
                let default = redis_lock::LockAcrossOptions::default().retry;
                let retry = if fast { Duration::from_millis(5) } else { default };
                Self::RedisLock(Arc::new(Mutex::new(connection)), retry)
            }
            "redlock" => {
                let mut lock = redlock::RedLock::new(vec![url]);
                if fast {
                    lock.set_retry(1000, 5);
                }
                Self::Redlock(Arc::new(lock))
            }
            _ => return Err(format!("no client {name}").into()),
        })
    }

    /// Runs a section under the lock on a key. Tries again if the library gives up waiting.
    pub async fn locked<F: Future<Output = ()> + Send + 'static>(&self, key: &str, section: impl Fn() -> F) {
        while self.once(key, &section).await.is_err() {}
    }

    /// Makes one attempt to run a section under the lock on a key.
    async fn once<F: Future<Output = ()> + Send + 'static>(
        &self,
        key: &str,
        section: &impl Fn() -> F,
    ) -> Result<(), Failure> {
        match self {
            Self::Plain(connection, release) => {
                let mut connection = connection.clone();
                let owner = Uuid::new_v4().to_string();
                let mut set = redis::cmd("SET");
                set.arg(key).arg(&owner).arg("NX").arg("PX").arg(30_000);
                let granted: Option<String> = set.query_async(&mut connection).await?;
                granted.ok_or("held")?;
                section().await;
                release.key(key).arg(&owner).invoke_async::<i64>(&mut connection).await?;
            }
            Self::List(client) => {
                let mut connection = own_connection(client).await?;
                redis::cmd("BLPOP").arg(key).arg(0).query_async::<(String, String)>(&mut connection).await?;
                section().await;
                redis::cmd("RPUSH").arg(key).arg("element").query_async::<i64>(&mut connection).await?;
            }
            Self::DistlockInBackground(manager) => {
                let lock = manager.lock(key).ttl(TTL).wait_forever();
                lock.release(distlock::Release::Background).run(section()).await?;
            }
            Self::Distlock(manager) => {
                let guard = manager.lock(key).ttl(TTL).wait_forever().acquire().await?;
                section().await;
                guard.release().await?;
            }
            Self::DistlockNotFair(manager) => {
                let guard = manager.lock(key).ttl(TTL).fair(false).wait_forever().acquire().await?;
                section().await;
                guard.release().await?;
            }
            Self::DistlockFenced(manager) => {
                let guard = manager.lock(key).ttl(TTL).fenced().wait_forever().acquire().await?;
                section().await;
                guard.release().await?;
            }
            Self::Rslock(manager) => {
                let lock = manager.lock(key.as_bytes(), TTL).await.map_err(|error| error.to_string())?;
                section().await;
                manager.unlock(&lock).await;
            }
            Self::Rds(connection, retry) => {
                let locker = rds_lock::Locker::new(connection.clone()).to(30_000).rty_int(*retry);
                let unlock = locker.lock(key.to_owned()).await?;
                section().await;
                unlock.await?;
            }
            Self::Distributed(provider) => {
                let handle = provider.create_lock(key).acquire(None).await?;
                section().await;
                handle.release().await?;
            }
            Self::RedisLock(connection, retry) => {
                let options = redis_lock::LockAcrossOptions {
                    ttl: TTL,
                    retry: *retry,
                    duration: Duration::from_secs(10),
                };
                let connections = [Arc::clone(connection)];
                redis_lock::lock_across(&connections, key, section(), options)
                    .await
                    .map_err(|error| error.to_string())?;
            }
            Self::Redlock(lock) => {
                // This library blocks its thread.
                let (locker, name) = (Arc::clone(lock), key.as_bytes().to_vec());
                let value = tokio::task::spawn_blocking(move || {
                    let lock = locker.lock(&name, 30_000).ok().flatten();
                    lock.map(|lock| lock.val)
                })
                .await?
                .ok_or("held")?;
                section().await;
                let (locker, name) = (Arc::clone(lock), key.as_bytes().to_vec());
                tokio::task::spawn_blocking(move || {
                    let held =
                        redlock::Lock { lock_manager: &locker, resource: name, val: value, validity_time: 0 };
                    locker.unlock(&held);
                })
                .await?;
            }
        }
        Ok(())
    }
}

tokio::task_local! {
    /// The connection of this task, for the blocking list.
    static CONNECTION: Arc<OnceCell<MultiplexedConnection>>;
}

/// Runs a task that gets a connection of its own, if its client asks for one.
pub async fn as_task<F: Future>(task: F) -> F::Output {
    CONNECTION.scope(Arc::default(), task).await
}

async fn own_connection(client: &redis::Client) -> Result<MultiplexedConnection, Failure> {
    let connection = CONNECTION.with(Arc::clone);
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let make = || client.get_multiplexed_async_connection_with_config(&config);
    Ok(connection.get_or_try_init(make).await?.clone())
}
