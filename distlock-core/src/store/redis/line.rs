//! Standing in line on the server: a connection of its own, over which the line's commands go out and its messages come in.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError, Value, aio::MultiplexedConnection,
};
use tokio::sync::{Notify, OnceCell};
use uuid::Uuid;

use super::{
    connect::{is_fatal, made},
    release,
    script::First,
};
use crate::{
    error::StoreError,
    key::Key,
    lease::{FencingToken, Moment, OwnerToken},
    store::{HandOver, Hint},
};

/// How long a lease lasts that is handed over, unless its ttl is shorter: who does not claim it, because it hangs, holds the others up for so long. Well
/// above the 1.2 s after which a waiter asks again, which is what its validity is counted from.
pub(super) const HANDED_OVER: Duration = Duration::from_secs(2);

/// The waiters of one runtime.
pub struct Line {
    client: Client,
    config: AsyncConnectionConfig,
    patience: Duration,
    /// Where the server tells this runtime's waiters that a key is theirs.
    channel: String,
    connection: Mutex<Arc<OnceCell<Connection>>>,
    waiters: Mutex<HashMap<OwnerToken, Waiter>>,
    /// Keys whose changes somebody wants to hear of.
    watched: Mutex<HashMap<Vec<u8>, Arc<Notify>>>,
}

#[derive(Clone)]
pub(super) struct Connection {
    pub(super) commands: MultiplexedConnection,
    /// When the latest command was sent over it that has been answered. The server answers and tells in order: whatever it tells later,
    /// it did later than this.
    answered: Arc<Mutex<Option<Moment>>>,
    /// The server tells of keys that have changed since they were read over this connection.
    tracks: Arc<OnceCell<()>>,
}

#[derive(Default)]
struct Waiter {
    told: Arc<Notify>,
    handed_over: Option<HandOver>,
    /// It waits no more, and its release is on its way.
    leaves: bool,
}

impl Line {
    pub(super) fn new(client: Client, config: AsyncConnectionConfig, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            client,
            config,
            patience,
            channel: format!("distlock-line:{}", Uuid::new_v4()),
            connection: Mutex::default(),
            waiters: Mutex::default(),
            watched: Mutex::default(),
        })
    }

    /// The connection, made and subscribed on first use and after a break.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<Connection, StoreError> {
        let connection = Arc::clone(&lock(&self.connection));
        made(&connection, self.patience, || self.connect()).await
    }

    async fn connect(self: &Arc<Self>) -> Result<Connection, RedisError> {
        let answered = Arc::<Mutex<Option<Moment>>>::default();
        let (line, seen) = (Arc::downgrade(self), Arc::clone(&answered));
        let config = self.config.clone().set_push_sender(move |push| Self::told(&line, &seen, &push));
        let mut commands = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        commands.subscribe(&self.channel).await?;
        Ok(Connection { commands, answered, tracks: Arc::default() })
    }

    /// Called by the connection for each message, in the order of the wire.
    fn told(line: &Weak<Self>, answered: &Mutex<Option<Moment>>, push: &PushInfo) -> Result<(), ()> {
        let line = line.upgrade().ok_or(())?;
        if push.kind == PushKind::Disconnection {
            line.reset(answered);
        } else if push.kind == PushKind::Invalidate {
            line.changed(&push.data);
        } else if push.kind == PushKind::Message
            && let Some(Message { owner, lasts, fence, key }) = Message::parse(&push.data)
            && let Some(waiter) = lock(&line.waiters).get_mut(&owner)
        {
            if waiter.leaves {
                line.pass_on(key, owner);
            } else {
                waiter.handed_over = lock(answered).map(|since| HandOver { fence, since, lasts });
                waiter.told.notify_one();
            }
        }
        Ok(())
    }

    /// Releases a key that was handed over to an owner who is leaving: the release that is on its way may take longer, or have been lost.
    fn pass_on(&self, key: Key, owner: OwnerToken) {
        if let Some(Connection { mut commands, .. }) = lock(&self.connection).get().cloned() {
            tokio::spawn(async move { release(&mut commands, &key, &owner, First::ByHash).await });
        }
    }

    /// Gives a connection up, if it has not been yet; every waiter is to ask again, over a new one.
    fn reset(&self, answered: &Mutex<Option<Moment>>) {
        let mut current = lock(&self.connection);
        if current.get().is_some_and(|connection| std::ptr::eq(&raw const *connection.answered, answered)) {
            *current = Arc::default();
            drop(current);
            for waiter in lock(&self.waiters).values() {
                waiter.told.notify_one();
            }
            lock(&self.watched).values().for_each(|watcher| watcher.notify_waiters());
        }
    }

    /// Hears of each failure over a connection.
    pub(super) fn failed(&self, connection: &Connection, error: &StoreError) {
        if is_fatal(error) {
            self.reset(&connection.answered);
        }
    }

    /// An owner's entry in a line, which the release script takes apart.
    pub(super) fn entry(&self, owner: &str, ttl: Duration, fenced: bool) -> String {
        let lease = ttl.min(HANDED_OVER).as_millis();
        format!("{owner} {lease} {} {}", u8::from(fenced), self.channel)
    }

    /// Listens for an owner, if nobody does yet.
    pub(super) fn enter(&self, owner: &OwnerToken) {
        lock(&self.waiters).entry(*owner).or_default();
    }

    /// Hears of a key that is handed over to the owner only to pass it on.
    pub(super) fn leaves(&self, owner: &OwnerToken) {
        if let Some(waiter) = lock(&self.waiters).get_mut(owner) {
            waiter.leaves = true;
        }
    }

    pub(super) fn has(&self, owner: &OwnerToken) -> bool {
        lock(&self.waiters).contains_key(owner)
    }

    /// Listens for an owner no more.
    pub(super) fn leave(&self, owner: &OwnerToken) {
        lock(&self.waiters).remove(owner);
    }

    /// Ends when a key that is held has changed: by client-side caching's invalidation message, which also tells of a lease that lapsed, and of
    /// holders of any kind. Nothing of it is left on the server.
    pub(super) async fn watch(self: Arc<Self>, key: Key) -> Hint {
        let Ok(mut connection) = self.connection().await else { return pending().await };
        let watch = Watch::new(&self, key.as_str().as_bytes());
        let changed = watch.changed.notified();
        let is_held = async {
            let (mut commands, mut track) = (connection.commands.clone(), redis::cmd("CLIENT"));
            track.arg("TRACKING").arg("ON");
            connection.tracks.get_or_try_init(|| track.query_async(&mut commands)).await?;
            redis::cmd("EXISTS").arg(key.as_str()).query_async::<bool>(&mut connection.commands).await
        };
        match is_held.await {
            Ok(true) => changed.await,
            // Nobody tells: waiters look by themselves.
            Ok(false) | Err(_) => pending().await,
        }
        Hint::MayBeFree
    }

    /// The server says which keys have changed; all, where it has thrown away everything.
    fn changed(&self, data: &[Value]) {
        let watched = lock(&self.watched);
        let [Value::Array(keys)] = data else {
            return watched.values().for_each(|watcher| watcher.notify_waiters());
        };
        for key in keys {
            if let Value::BulkString(key) = key
                && let Some(watcher) = watched.get(key)
            {
                watcher.notify_waiters();
            }
        }
    }

    /// What the server tells an owner next.
    pub(super) async fn hint(self: Arc<Self>, owner: OwnerToken) -> Hint {
        let told = lock(&self.waiters).get(&owner).map(|waiter| Arc::clone(&waiter.told));
        match told {
            Some(told) => told.notified().await,
            None => std::future::pending().await,
        }
        let handed_over = lock(&self.waiters).get_mut(&owner).and_then(|waiter| waiter.handed_over.take());
        let Some(handed_over) = handed_over else { return Hint::MayBeFree };
        self.leave(&owner);
        Hint::HandedOver(handed_over)
    }
}

/// Somebody listens for changes of a key.
struct Watch<'a> {
    line: &'a Line,
    key: Vec<u8>,
    changed: Arc<Notify>,
}

impl<'a> Watch<'a> {
    fn new(line: &'a Line, key: &[u8]) -> Self {
        let changed = Arc::clone(lock(&line.watched).entry(key.to_owned()).or_default());
        Self { line, key: key.to_owned(), changed }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut watched = lock(&self.line.watched);
        // Watches are made under this lock only: two references are the map's and ours.
        if Arc::strong_count(&self.changed) == 2 {
            watched.remove(&self.key);
        }
    }
}

impl Connection {
    /// A command sent at `sent` was answered.
    pub(super) fn answered(&self, sent: Moment) {
        let mut answered = lock(&self.answered);
        if answered.is_none_or(|before| sent.at > before.at) {
            *answered = Some(sent);
        }
    }
}

/// What `hand_over.lua` tells.
struct Message {
    owner: OwnerToken,
    lasts: Duration,
    fence: Option<FencingToken>,
    key: Key,
}

impl Message {
    fn parse(data: &[Value]) -> Option<Self> {
        let [_channel, Value::BulkString(text)] = data else { return None };
        let mut words = std::str::from_utf8(text).ok()?.splitn(4, ' ');
        Some(Self {
            owner: OwnerToken::parse(words.next()?)?,
            lasts: Duration::from_millis(words.next()?.parse().ok()?),
            fence: words.next()?.parse().ok().map(FencingToken::new),
            key: Key::stored("", words.next()?),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
