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
use tokio::{
    sync::{Notify, OnceCell},
    time::{Instant, sleep_until, timeout},
};
use uuid::Uuid;

use super::super::{
    connect::{is_fatal, made},
    release,
    script::First,
};
use super::tracking::{KeyChanges, TrackedKeys};
use crate::{
    clock::Moment,
    error::StoreError,
    key::Key,
    store::{HandOver, Hint, NextWaiter},
    token::{FencingToken, OwnerToken},
};

/// How long a lease lasts that is handed over, unless its ttl is shorter: who does not claim it, because it hangs, holds the others up for so long. Well
/// above the 1.2 s after which a waiter asks again, which is what its validity is counted from.
pub(in super::super) const HANDED_OVER: Duration = Duration::from_secs(2);

/// How long news of a hand-over may come behind that of the change that it is.
const NEWS: Duration = Duration::from_millis(5);
/// A waiter asks no oftener than this because its key has changed.
const LOOKS: Duration = Duration::from_secs(1);

/// The waiters of one runtime.
pub struct WaitChannel {
    client: Client,
    config: AsyncConnectionConfig,
    patience: Duration,
    /// Where the server tells this runtime's waiters that a key is theirs.
    channel: String,
    connection: Mutex<Arc<OnceCell<Connection>>>,
    waiters: Mutex<HashMap<OwnerToken, Registration>>,
    watched: Arc<TrackedKeys>,
}

#[derive(Clone)]
pub(in super::super) struct Connection {
    pub(in super::super) commands: MultiplexedConnection,
    /// When the latest command was sent over it that has been answered. The server answers and tells in order: whatever it tells later,
    /// it did later than this.
    answered: Arc<Mutex<Option<Moment>>>,
    /// The server tells of keys that have changed since they were read over this connection.
    tracks: bool,
}

struct Registration {
    told: Arc<Notify>,
    /// Of its key.
    watch: KeyChanges,
    /// Not before this it asks because its key has changed.
    look: Option<Instant>,
    handed_over: Option<HandOver>,
    presence: Presence,
    /// Releases under way that bring it along.
    offers: u32,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Presence {
    #[default]
    Enqueue,
    /// It has the key.
    Served,
    /// It waits no more, and its release is on its way or done.
    Leaves,
}

/// A waiter that a release in this process brings along.
pub struct DirectHandOver {
    pub(in super::super) line: Arc<WaitChannel>,
    pub(in super::super) connection: Connection,
    key: Key,
    pub(in super::super) next: NextWaiter,
    ended: bool,
}

impl WaitChannel {
    pub(in super::super) fn new(
        client: Client,
        config: AsyncConnectionConfig,
        patience: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            client,
            config,
            patience,
            channel: format!("distlock-line:{}", Uuid::new_v4()),
            connection: Mutex::default(),
            waiters: Mutex::default(),
            watched: Arc::default(),
        })
    }

    /// The connection, made and subscribed on first use and after a break.
    pub(in super::super) async fn connection(self: &Arc<Self>) -> Result<Connection, StoreError> {
        let connection = Arc::clone(&lock(&self.connection));
        made(&connection, self.patience, || self.connect()).await
    }

    async fn connect(self: &Arc<Self>) -> Result<Connection, RedisError> {
        let answered = Arc::<Mutex<Option<Moment>>>::default();
        let (line, seen) = (Arc::downgrade(self), Arc::clone(&answered));
        let config = self.config.clone().set_push_sender(move |push| Self::told(&line, &seen, &push));
        let mut commands = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        commands.subscribe(&self.channel).await?;
        // By client-side caching. Where that is forbidden, waiters look by themselves.
        let mut track = redis::cmd("CLIENT");
        track.arg("TRACKING").arg("ON").arg("NOLOOP");
        let tracks = track.exec_async(&mut commands).await.is_ok();
        Ok(Connection { commands, answered, tracks })
    }

    /// Called by the connection for each message, in the order of the wire.
    fn told(line: &Weak<Self>, answered: &Mutex<Option<Moment>>, push: &PushInfo) -> Result<(), ()> {
        let line = line.upgrade().ok_or(())?;
        if push.kind == PushKind::Disconnection {
            line.reset(answered);
        } else if push.kind == PushKind::Invalidate {
            line.watched.changed(&push.data);
        } else if push.kind == PushKind::Message
            && let Some(Message { owner, lasts, fence, key }) = Message::parse(&push.data)
            && let Some(waiter) = lock(&line.waiters).get_mut(&owner)
        {
            match waiter.presence {
                Presence::Enqueue => {
                    waiter.handed_over = lock(answered).map(|since| HandOver { fence, since, lasts });
                    waiter.told.notify_one();
                }
                Presence::Served => {}
                Presence::Leaves => line.release_unwanted(key, owner),
            }
        }
        Ok(())
    }

    /// Releases a key that was handed over to an owner who is leaving: the release that is on its way may take longer, or have been lost.
    fn release_unwanted(&self, key: Key, owner: OwnerToken) {
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
            self.watched.all_changed();
        }
    }

    /// Hears of each failure over a connection.
    pub(in super::super) fn failed(&self, connection: &Connection, error: &StoreError) {
        if is_fatal(error) {
            self.reset(&connection.answered);
        }
    }

    /// An owner's entry in a line, which the scripts take apart.
    pub(in super::super) fn entry(&self, owner: &str, ttl: Duration, fenced: bool) -> String {
        format!("{owner} {:04} {} {}", lease(ttl).as_millis(), u8::from(fenced), self.channel)
    }

    /// Listens for an owner.
    pub(in super::super) fn enter(&self, key: &Key, owner: &OwnerToken) {
        let mut waiters = lock(&self.waiters);
        let waiter = waiters.entry(*owner).or_insert_with(|| Registration::new(self.watched.watch(key)));
        waiter.presence = Presence::Enqueue;
        // It is going to see what the key is now.
        waiter.watch.see();
    }

    /// Listens for an owner that has not asked, if there is a connection to register_waiter on.
    pub(in super::super) fn register_waiter(&self, key: &Key, owner: &OwnerToken) -> bool {
        let connected = lock(&self.connection).get().is_some();
        if connected {
            self.enter(key, owner);
        }
        connected
    }

    /// Hears of a key that is handed over to the owner only to pass it on.
    pub(in super::super) fn leaves(&self, owner: &OwnerToken) {
        if let Some(waiter) = lock(&self.waiters).get_mut(owner) {
            waiter.presence = Presence::Leaves;
        }
    }

    /// The leaving owner's release has ended.
    pub(in super::super) fn left(&self, owner: &OwnerToken) {
        self.ends(owner, Presence::Leaves);
    }

    /// The owner has the key.
    pub(in super::super) fn served(&self, owner: &OwnerToken) {
        self.ends(owner, Presence::Served);
    }

    fn ends(&self, owner: &OwnerToken, presence: Presence) {
        let mut waiters = lock(&self.waiters);
        if let Some(waiter) = waiters.get_mut(owner) {
            waiter.presence = presence;
            if waiter.offers == 0 {
                waiters.remove(owner);
            }
        }
    }

    pub(in super::super) fn has(&self, owner: &OwnerToken) -> bool {
        lock(&self.waiters).get(owner).is_some_and(|waiter| waiter.presence == Presence::Enqueue)
    }

    /// Brings an owner along with a release, if this is where it waits.
    pub(in super::super) fn offer(self: &Arc<Self>, key: &Key, next: &NextWaiter) -> Option<DirectHandOver> {
        let connection = lock(&self.connection).get().cloned()?;
        let mut waiters = lock(&self.waiters);
        let waiter = waiters.get_mut(&next.owner).filter(|waiter| waiter.presence == Presence::Enqueue)?;
        waiter.offers += 1;
        Some(DirectHandOver {
            line: Arc::clone(self),
            connection,
            key: key.clone(),
            next: next.clone(),
            ended: false,
        })
    }

    /// Ends when a key that is held has changed: by client-side caching's invalidation message, which also tells of a lease that lapsed, and of
    /// holders of any kind. Nothing of it is left on the server.
    pub(in super::super) async fn watch(self: Arc<Self>, key: Key) -> Hint {
        let Ok(mut connection) = self.connection().await else { return pending().await };
        let watch = self.watched.watch(&key);
        let mut exists = redis::cmd("EXISTS");
        match exists.arg(key.as_str()).query_async(&mut connection.commands).await {
            Ok(true) if connection.tracks => watch.changed().await,
            // Nobody tells: waiters look by themselves.
            Ok(_) | Err(_) => pending().await,
        }
        Hint::MayBeFree
    }

    /// What the server tells an owner next.
    pub(in super::super) async fn hint(self: Arc<Self>, owner: OwnerToken) -> Hint {
        let waiter = |waiter: &Registration| (Arc::clone(&waiter.told), waiter.watch.changed(), waiter.look);
        let Some((told, changed, look)) = lock(&self.waiters).get(&owner).map(waiter) else {
            return pending().await;
        };
        let look = async {
            if let Some(look) = look {
                sleep_until(look).await;
            }
            changed.await;
        };
        let changed = tokio::select! {
            biased;
            () = told.notified() => false,
            () = look => {
                let _ = timeout(NEWS, told.notified()).await;
                true
            }
        };
        let handed_over = lock(&self.waiters).get_mut(&owner).and_then(|waiter| {
            waiter.look = changed.then(|| Instant::now() + LOOKS).or(waiter.look);
            waiter.handed_over.take()
        });
        let Some(handed_over) = handed_over else { return Hint::MayBeFree };
        self.served(&owner);
        Hint::HandedOver(handed_over)
    }
}

impl Registration {
    fn new(watch: KeyChanges) -> Self {
        Self {
            told: Arc::default(),
            watch,
            look: None,
            handed_over: None,
            presence: Presence::default(),
            offers: 0,
        }
    }
}

/// What has become of an offer.
pub(in super::super) enum DirectOutcome {
    /// Nothing, or nobody knows: its waiter is to ask.
    Unknown,
    /// Its waiter stands in line.
    InLine,
    /// Its waiter has the key.
    Taken(HandOver),
}

impl DirectHandOver {
    /// The waiter's entry.
    pub(in super::super) fn entry(&self) -> String {
        let mut text = [0; 36];
        self.line.entry(self.next.owner.encode(&mut text), self.next.ttl, self.next.fenced)
    }

    /// Hears what has become of it.
    pub(in super::super) fn end(&mut self, offered: &DirectOutcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let owner = self.next.owner;
        let mut waiters = lock(&self.line.waiters);
        let Some(waiter) = waiters.get_mut(&owner) else { return };
        waiter.offers -= 1;
        let presence = waiter.presence;
        match (presence, offered) {
            (Presence::Enqueue, DirectOutcome::Unknown) => waiter.told.notify_one(),
            (Presence::Enqueue, DirectOutcome::Taken(lease)) => {
                waiter.handed_over = Some(*lease);
                waiter.told.notify_one();
            }
            _ => {}
        }
        if presence != Presence::Enqueue && waiter.offers == 0 {
            waiters.remove(&owner);
        }
        drop(waiters);
        if presence == Presence::Leaves && !matches!(offered, DirectOutcome::Unknown) {
            // Its own release may have come before it was brought along.
            self.line.release_unwanted(self.key.clone(), owner);
        }
    }
}

impl Drop for DirectHandOver {
    fn drop(&mut self) {
        self.end(&DirectOutcome::Unknown);
    }
}

/// How long a lease lasts that is handed over.
pub(in super::super) fn lease(ttl: Duration) -> Duration {
    ttl.min(HANDED_OVER)
}

impl Connection {
    /// A command sent at `sent` was answered.
    pub(in super::super) fn answered(&self, sent: Moment) {
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
