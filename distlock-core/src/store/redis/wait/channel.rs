//! A connection per runtime, over which its waiters join wait queues and are told of hand-overs.
//!
//! # How it works, and why nothing is lost
//! A waiter asks by one script, which grants the key or adds an entry to the key's wait queue. The entry
//! names the channel that its connection is subscribed to. The script of a release sets the lock to the
//! first entry's owner and publishes that to the entry's channel. The waiter then has two seconds to claim
//! the lease.
//!
//! - The connection is subscribed before it is used, and a waiter is registered before its entry is sent: no
//!   message can find its waiter missing.
//! - Commands and messages share one connection, and the server works in order. A hand-over that is read
//!   after an answer happened after that answer's command was sent. The lease and the two seconds are counted
//!   from that moment, so that a message that was under way for long is found to be so.
//! - If the connection breaks, every waiter asks again over a new one, which puts the new channel into its
//!   entry. The script passes over an entry whose channel has no subscriber, or whose waiter has stopped
//!   asking.
//! - A waiter that gives up sends its release, which removes the entry or the lease, whichever it finds. A
//!   hand-over that is told after that is released again: the release may have reached the server before the
//!   hand-over. So is a hand-over to an owner that this process does not know.
//! - All else that can go wrong only costs time: a waiter asks by itself after 1.2 s at the latest.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use futures_util::future::join3;
use redis::{PushInfo, PushKind, RedisResult, aio::MultiplexedConnection};
use tokio::{runtime::Handle, sync::OnceCell, time::Instant};

use super::{
    super::{
        check::ensure_primary,
        commands::{millis, release},
        connect::{
            multiplexed,
            once::made,
            route::{Route, SwitchNotice, Way},
            without_introduction,
        },
        embargo::GrantsFrom,
        errors::{breaks_connection, classify, hung_up},
        keys::{self, RedisKey},
        release_form::ReleaseForm,
        settings::{client_name, set_client_name},
    },
    registry::{Delivery, Registry},
    wire::Message,
};
use crate::{
    clock::Moment,
    error::{StoreError, StoreErrorKind},
    key::Key,
    seam,
    store::Hint,
    token::{Label, OwnerToken},
};

/// One runtime's connection for waiting, and the waiters that are registered there.
pub(super) struct WaitChannel {
    route: Route,
    /// The longest that making a connection may take.
    patience: Duration,
    /// How long a key's fencing counter outlives the key's last grant.
    fence_lifetime: Duration,
    /// The namespace of the keys that this is used for, with which the names of channels begin.
    namespace: String,
    /// Filled by [`connection`](Self::connection), replaced by an empty cell when the connection breaks.
    connection: Mutex<Arc<OnceCell<WaitConnection>>>,
    registry: Registry,
    form: Arc<ReleaseForm>,
    /// The label that connections are named by; `None` for the label of the process.
    label: Option<Label>,
    release_elsewhere: Arc<OnceLock<ReleaseElsewhere>>,
}

/// Begins to release a key that was handed over to an owner that does not want it any more.
pub(super) type ReleaseElsewhere = Box<dyn Fn(Key, OwnerToken) + Send + Sync>;

/// A subscribed connection.
#[derive(Clone)]
pub(super) struct WaitConnection {
    pub(super) commands: MultiplexedConnection,
    /// The pub/sub channel on which the server tells this connection's waiters of hand-overs. A connection
    /// that replaces this one has another, so that a message cannot come over the wrong one.
    pub(super) name: Arc<str>,
    latest: LatestAnswer,
    /// Whether the server tells of keys that have changed since they were read over this connection.
    tracks: bool,
    /// When the server grants leases again; `None` without a delay.
    grants_from: Option<GrantsFrom>,
    _notice: SwitchNotice,
}

/// When the latest command over a connection was sent that has been answered. Identifies the connection, too.
#[derive(Clone, Default)]
struct LatestAnswer(Arc<Mutex<Option<Moment>>>);

impl WaitChannel {
    /// A channel named after the namespace of the keys that it is used for.
    pub(super) fn new(
        namespace: &str,
        route: Route,
        patience: Duration,
        fence_lifetime: Duration,
        form: Arc<ReleaseForm>,
        label: Option<Label>,
        release_elsewhere: Arc<OnceLock<ReleaseElsewhere>>,
    ) -> Arc<Self> {
        let (connection, registry) = (Mutex::default(), Registry::default());
        Arc::new(Self {
            route,
            patience,
            fence_lifetime,
            namespace: namespace.to_owned(),
            connection,
            registry,
            form,
            label,
            release_elsewhere,
        })
    }

    /// What is known of the server's scripts.
    pub(super) fn form(&self) -> &ReleaseForm {
        &self.form
    }

    /// Called when a waiter was enqueued.
    pub(super) fn queue_was_met(&self) {
        self.form.queue_was_met();
    }

    /// How long the key's fencing counter lasts after a grant, in ms; 0 for a lease without a token.
    pub(super) fn counter_lasts(&self, ttl: Duration, fenced: bool) -> u64 {
        if fenced { millis(self.fence_lifetime.max(ttl)) } else { 0 }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The connection, made and subscribed on first use and after a break.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<WaitConnection, StoreError> {
        let cell = Arc::clone(&self.cell());
        made(&cell, self.patience, || self.establish()).await
    }

    /// The connection, which goes on being made if the caller stops waiting for it.
    ///
    /// A waiter of a quorum asks again every few milliseconds until it is told of changes, and each time it
    /// drops this future. Otherwise, a connection that takes longer would never be made.
    async fn connection_in_background(self: &Arc<Self>) -> Option<WaitConnection> {
        if let Some(connection) = self.connection_if_made() {
            return Some(connection);
        }
        let channel = Arc::clone(self);
        seam::spawn(&Handle::current(), async move { channel.connection().await }).await.ok()?.ok()
    }

    /// The connection, if there is one.
    pub(super) fn connection_if_made(&self) -> Option<WaitConnection> {
        self.cell().get().cloned()
    }

    /// Makes a connection. Some proxies hang up on commands that they do not know, in place of refusing them.
    async fn establish(self: &Arc<Self>) -> Result<WaitConnection, StoreError> {
        let mut way = self.route.way().await?;
        match self.subscribed(&way, true).await {
            Err(error) if hung_up(&error) => {}
            subscribed => return self.admitted(subscribed.map_err(classify)?, &way).await,
        }
        way.client = without_introduction(&way.client).map_err(classify)?;
        let subscribed = self.subscribed(&way, false).await.map_err(|error| {
            if hung_up(&error) {
                let detail = "the server, or a proxy before it, hangs up on HELLO or SUBSCRIBE";
                StoreError::new(StoreErrorKind::Refused, detail).with_source(error)
            } else {
                classify(error)
            }
        });
        self.admitted(subscribed?, &way).await
    }

    /// Checks a new connection, over which leases are granted to waiters.
    async fn admitted(
        &self,
        mut connection: WaitConnection,
        way: &Way,
    ) -> Result<WaitConnection, StoreError> {
        if way.is_hearsay() {
            ensure_primary(&mut connection.commands).await.map_err(classify)??;
        }
        connection.grants_from = self.route.grants_from(&mut connection.commands).await?;
        Ok(connection)
    }

    async fn subscribed(self: &Arc<Self>, way: &Way, track: bool) -> RedisResult<WaitConnection> {
        let latest = LatestAnswer::default();
        let (channel, at) = (Arc::downgrade(self), latest.clone());
        let config = way.config.clone().set_push_sender(move |push| Self::on_push(&channel, &at, &push));
        let mut commands = multiplexed(&way.client, &config).await?;
        let name: Arc<str> = keys::channel(&self.namespace, seam::random_uuid()).into();
        let (mut tracker, mut named) = (commands.clone(), commands.clone());
        let tracking = async {
            if !track {
                return Ok(false);
            }
            let mut tracking = redis::cmd("CLIENT");
            match tracking.arg("TRACKING").arg("ON").arg("OPTIN").arg("NOLOOP").exec_async(&mut tracker).await
            {
                Err(error) if hung_up(&error) => Err(error),
                // Where client-side caching is forbidden, waiters only ask by themselves.
                answer => Ok(answer.is_ok()),
            }
        };
        // A proxy that hangs up on the others has hung up on this one, too.
        let naming = async {
            if track {
                // A server that refuses it does without.
                let _ = set_client_name(client_name(self.label)).exec_async(&mut named).await;
            }
        };
        // All go in one round trip.
        let (subscribed, tracks, ()) = join3(commands.subscribe(&*name), tracking, naming).await;
        subscribed?;
        let tracks = tracks?;
        let (channel, replaced) = (Arc::downgrade(self), latest.clone());
        let notice = way.on_switch(move || {
            if let Some(channel) = channel.upgrade() {
                channel.reset(&replaced);
            }
        });
        Ok(WaitConnection { commands, name, latest, tracks, grants_from: None, _notice: notice })
    }

    /// Called by the connection for each message, in the order in which the server sent them.
    fn on_push(channel: &Weak<Self>, latest: &LatestAnswer, push: &PushInfo) -> Result<(), ()> {
        let channel = channel.upgrade().ok_or(())?;
        if push.kind == PushKind::Disconnection {
            channel.reset(latest);
        } else if push.kind == PushKind::Invalidate {
            channel.registry.tracked().invalidated(&push.data);
        } else if push.kind == PushKind::Message
            && let Some(message) = Message::parse(&push.data)
        {
            // Over a connection that was given up, the waiter may be late: it asks.
            let since = latest.get().filter(|_| channel.uses(latest));
            let lease = since.map(|since| message.lease(since));
            if let Delivery::Unwanted(key) = channel.registry.deliver(&message.key, &message.owner, lease) {
                channel.release_unwanted(key, message.owner);
            }
        }
        Ok(())
    }

    /// Releases a key that was handed over to an owner that does not want it any more.
    pub(super) fn release_unwanted(&self, key: Key, owner: OwnerToken) {
        if let Some(release) = self.release_elsewhere.get() {
            release(key, owner);
        } else if let Some(WaitConnection { mut commands, .. }) = self.connection_if_made() {
            let form = Arc::clone(&self.form);
            let releasing = async move { release(&mut commands, &key, &owner, &form).await };
            seam::spawn(&Handle::current(), releasing);
        }
    }

    /// Gives a connection up, if that has not happened yet. Every waiter asks again, over a new one.
    fn reset(&self, latest: &LatestAnswer) {
        let mut cell = self.cell();
        if cell.get().is_some_and(|connection| connection.is_told_by(latest)) {
            *cell = Arc::default();
            drop(cell);
            self.registry.wake_all();
        }
    }

    /// Called for each failure over a connection.
    pub(super) fn failed(&self, connection: &WaitConnection, error: &StoreError) {
        if breaks_connection(error) {
            self.reset(&connection.latest);
        }
    }

    /// Whether the connection with these answers is the one in use.
    fn uses(&self, latest: &LatestAnswer) -> bool {
        self.cell().get().is_some_and(|connection| connection.is_told_by(latest))
    }

    /// Registers a waiter that does not ask. Answers false if there is no connection to tell it by.
    pub(super) fn register_if_connected(&self, key: &Key, owner: &OwnerToken) -> bool {
        let connected = self.cell().get().is_some();
        if connected {
            self.registry.register(key, owner);
        }
        connected
    }

    /// Ends when a key that is held has changed; never for a key that is free.
    ///
    /// The server's client-side caching tells of it, also of a lease that lapsed and of holders that other
    /// programs set. Nothing is left on the server.
    pub(super) async fn key_changed(self: Arc<Self>, key: Key) -> Hint {
        let Some(connection) = self.connection_in_background().await else { return pending().await };
        let changes = self.registry.tracked().subscribe(&key);
        match connection.read_and_track(&key).await {
            Ok(true) if connection.tracks => changes.changed().await,
            Ok(_) | Err(_) => pending().await,
        }
        Hint::MayBeFree
    }

    /// Ends when the owner may have its key.
    ///
    /// The first waiter of a queue watches its key, so that it hears of a key that lapsed or was deleted. The
    /// waiters behind it do not: each hand-over would wake all their processes.
    pub(super) async fn hint(self: Arc<Self>, owner: OwnerToken) -> Hint {
        let watch = async {
            let Some(key) = self.registry.key_to_watch(&owner) else { return pending().await };
            let connection = self.connection_if_made().filter(|connection| connection.tracks);
            let Some(connection) = connection else { return pending().await };
            match connection.read_and_track(&key).await {
                Ok(true) | Err(_) => {
                    self.registry.is_watched(&owner);
                    pending::<()>().await;
                }
                // The key has become free since the waiter asked.
                Ok(false) => {}
            }
        };
        tokio::select! {
            biased;
            hint = self.registry.hint(owner) => hint,
            () = watch => Hint::MayBeFree,
        }
    }

    fn cell(&self) -> MutexGuard<'_, Arc<OnceCell<WaitConnection>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitConnection {
    /// Reads the key so that the server tells of its next change. Answers whether the key is held.
    async fn read_and_track(&self, key: &Key) -> RedisResult<bool> {
        let mut both = redis::Pipeline::with_capacity(2);
        // Only the key that is read next: the scripts read more.
        both.cmd("CLIENT").arg("CACHING").arg("YES");
        both.cmd("EXISTS").arg(RedisKey::lock(key)).ignore_errors();
        let mut commands = self.commands.clone();
        let (_, exists): (RedisResult<redis::Value>, RedisResult<bool>) =
            both.query_async(&mut commands).await?;
        exists
    }

    fn is_told_by(&self, latest: &LatestAnswer) -> bool {
        Arc::ptr_eq(&self.latest.0, &latest.0)
    }

    /// Why the server must not grant a lease over this connection yet.
    pub(super) fn grant_embargo(&self) -> Option<StoreError> {
        self.grants_from?.refusal(Instant::now())
    }

    /// Called when a command that was sent at `sent` has been answered.
    pub(super) fn answered(&self, sent: Moment) {
        let mut latest = self.latest.0.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.is_none_or(|before| sent.at > before.at) {
            *latest = Some(sent);
        }
    }
}

impl LatestAnswer {
    fn get(&self) -> Option<Moment> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
