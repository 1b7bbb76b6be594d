//! Leases on one Redis server.
//!
//! From the bottom up:
//! - [`keys`] has the names of a lock's keys, [`errors`] says what a failure means, [`settings`] how a server
//!   is used.
//! - [`script`] sends a Lua script, [`restart`] knows when a restarted server may grant leases again.
//! - [`check`] finds out whether the server is fit for locks.
//! - [`commands`] are the commands of a lease over a connection, [`connect`] gives the connections.
//! - [`wait`] has the wait queues.

use std::{future::pending, sync::Arc, time::Duration};

use super::{
    Acquired, Diagnosis, DiagnosisFuture, Enqueue, HintFuture, Holder, NextWaiter, Store, StoreFuture,
};
use crate::{
    error::{LockError, StoreError, StoreErrorKind},
    key::Key,
    limits::DEFAULT_FENCE_LIFETIME,
    token::{FencingToken, OwnerToken},
};

mod check;
mod commands;
mod connect;
mod errors;
mod keys;
mod restart;
mod script;
mod settings;
mod take_again;
mod wait;

use check::{Gate, Server};
use commands::ReleaseForm;
use connect::{Connector, callers_own::CallerConnection, single::PerRuntimeConnection};
pub use keys::names_on_server;
pub(crate) use settings::{Role, Settings};
use wait::{DirectHandOver, WaitRoom};

/// Keeps leases on one Redis or Valkey server, over one connection per tokio runtime that uses it.
///
/// An acquire is `SET key owner NX PX ttl`. Renewal and release are scripts that compare the owner token.
pub struct RedisStore<C = PerRuntimeConnection> {
    inner: Arc<Inner<C>>,
}

/// What a store shares with its operations under way.
struct Inner<C> {
    connector: C,
    /// `None` over a connection of the caller's, which cannot be subscribed: waiters poll.
    wait_room: Option<WaitRoom>,
    release_form: Arc<ReleaseForm>,
    /// How long a key's fencing counter outlives the key's last grant.
    fence_lifetime: Duration,
    gate: Arc<Gate>,
}

/// What a connection is wanted for.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    /// A lease may be granted, which a server that was just started must not do.
    Grant,
    Other,
}

impl RedisStore {
    /// The store at a `redis://` or `rediss://` URL, with the default timeouts. The first use connects.
    ///
    /// # Errors
    /// [`LockError::Config`] for a URL that is not understood.
    pub fn open(url: &str) -> Result<Self, LockError> {
        Self::with_settings(url, None, Settings::default())
    }

    /// The store at a `redis://` or `rediss://` URL, with these settings, for keys of this namespace if it is
    /// known. The first use connects.
    ///
    /// # Errors
    /// [`LockError::Config`] for a URL that is not understood, and for a timeout of zero.
    pub(crate) fn with_settings(
        url: &str,
        namespace: Option<&str>,
        settings: Settings,
    ) -> Result<Self, LockError> {
        settings.check().map_err(config)?;
        #[cfg(feature = "tls")]
        connect::single::ensure_crypto_provider();
        // The message repeats nothing of the URL, which may hold a password.
        let bad_url = |error: redis::RedisError| {
            let what = error.category();
            config(format!(
                "the Redis URL is not valid ({what}); write redis://[user:password@]host[:port][/db]"
            ))
        };
        let client = redis::Client::open(url).map_err(bad_url)?;
        let (restart_delay, release_form) = match settings.role {
            Role::Single => (Duration::ZERO, ReleaseForm::default()),
            Role::QuorumNode { restart_delay } => (restart_delay, ReleaseForm::lock_only()),
        };
        let (connection, patience) = (settings.connection(), settings.connect_timeout);
        let release_form = Arc::new(release_form);
        let (form, lifetime) = (Arc::clone(&release_form), settings.fence_lifetime);
        let wait_room =
            WaitRoom::new(&client, connection.clone(), patience, lifetime, form).map_err(bad_url)?;
        let address = client.get_connection_info().addr().to_string();
        let server = Server { address, namespace: namespace.map(str::to_owned), role: settings.role };
        let gate = Arc::new(Gate::new(server));
        let for_connections = Arc::clone(&gate);
        let connector =
            PerRuntimeConnection::new(client, connection, patience, restart_delay, for_connections);
        Ok(Self::assemble(connector, Some(wait_room), release_form, lifetime, gate))
    }

    /// Host and port, for messages.
    pub(crate) fn address(&self) -> &str {
        self.inner.gate.address()
    }

    /// Connects, which shows whether the server answers and is fit for locks.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        match self.inner.connector.connection().await {
            Ok(_) => Ok(()),
            // At the start of a program no failover is waited for.
            Err(error) if error.kind() == StoreErrorKind::ReadOnly => {
                Err(StoreError::new(StoreErrorKind::Unfit, error.to_string()).at(self.address()))
            }
            Err(error) => Err(error.at(self.address())),
        }
    }

    /// The server's run id, which no two servers share; `None` if the server does not tell.
    pub(crate) async fn run_id(&self) -> Option<String> {
        let (mut connection, _) = self.inner.connector.connection().await.ok()?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await.ok()?;
        restart::run_id(&info).map(str::to_owned)
    }
}

impl<C> RedisStore<CallerConnection<C>>
where
    CallerConnection<C>: Connector,
{
    /// The store over a connection that the caller made.
    pub(crate) fn from_connection(connection: C) -> Self {
        let address = "own connection".to_owned();
        let gate = Gate::new(Server { address, namespace: None, role: Role::Single });
        let (form, lifetime) = (Arc::default(), DEFAULT_FENCE_LIFETIME);
        Self::assemble(CallerConnection(connection), None, form, lifetime, Arc::new(gate))
    }
}

impl<C: Connector> RedisStore<C> {
    fn assemble(
        connector: C,
        wait_room: Option<WaitRoom>,
        release_form: Arc<ReleaseForm>,
        fence_lifetime: Duration,
        gate: Arc<Gate>,
    ) -> Self {
        Self { inner: Arc::new(Inner { connector, wait_room, release_form, fence_lifetime, gate }) }
    }

    /// Runs a command over the current runtime's connection.
    ///
    /// The future owns all that it uses: see [`StoreFuture`]. The connection is looked up at the first poll,
    /// because it belongs to the runtime that polls.
    fn with_connection<T, F>(
        &self,
        purpose: Purpose,
        operation: impl FnOnce(C::Connection) -> F + Send + 'static,
    ) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let (connection, origin) = inner.connector.connection().await?;
            if purpose == Purpose::Grant
                && let Some(remaining) = inner.connector.grant_embargo(&origin)
            {
                let detail = format!(
                    "the server was started a short time ago, perhaps without its data, and grants nothing for \
                     another {remaining:.0?} (restart_delay)"
                );
                return Err(StoreError::new(StoreErrorKind::Unavailable, detail));
            }
            operation(connection).await.inspect_err(|error| inner.connector.failed(&origin, error))
        })
    }
}

impl<C: Connector> Inner<C> {
    /// Begins a release that hands the key to a waiter of this process, where that is possible.
    fn hand_over_to(&self, next: &NextWaiter) -> Option<DirectHandOver> {
        if self.release_form.is_lock_only() { None } else { self.wait_room.as_ref()?.hand_over_to(next) }
    }

    /// Called when the owner's release is sent.
    fn release_sent(&self, owner: &OwnerToken) {
        if let Some(wait_room) = &self.wait_room {
            wait_room.release_sent(owner);
        }
    }

    /// Called when the owner's release has ended.
    fn release_ended(&self, owner: &OwnerToken) {
        if let Some(wait_room) = &self.wait_room {
            wait_room.release_ended(owner);
        }
    }
}

impl<C: Connector> Store for RedisStore<C> {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (key, owner, lifetime) = (key.clone(), *owner, fenced.then_some(self.inner.fence_lifetime));
        self.with_connection(Purpose::Grant, move |mut connection| async move {
            commands::acquire(&mut connection, &key, &owner, ttl, lifetime).await
        })
    }

    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        let (key, owner, lifetime) = (key.clone(), *owner, self.inner.fence_lifetime);
        self.with_connection(Purpose::Grant, move |mut connection| async move {
            commands::acquire_fenced(&mut connection, &key, &owner, ttl, lifetime, Some(proposal)).await
        })
    }

    fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
        let (key, owner, lifetime) = (key.clone(), *owner, self.inner.fence_lifetime);
        self.with_connection(Purpose::Other, move |mut connection| async move {
            commands::raise_fence(&mut connection, &key, &owner, fence, lifetime).await
        })
    }

    fn take_again(
        &self,
        key: &Key,
        owner: &OwnerToken,
        rest_of_ttl: Duration,
        fence: Option<FencingToken>,
    ) -> StoreFuture<bool> {
        let (key, owner, lifetime) = (key.clone(), *owner, self.inner.fence_lifetime);
        self.with_connection(Purpose::Grant, move |mut connection| async move {
            take_again::take_again(&mut connection, &key, &owner, rest_of_ttl, fence, lifetime).await
        })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (key, owner) = (key.clone(), *owner);
        self.with_connection(Purpose::Other, move |mut connection| async move {
            commands::renew(&mut connection, &key, &owner, ttl).await
        })
    }

    fn confirm_hand_over(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (key, owner, form) = (key.clone(), *owner, Arc::clone(&self.inner.release_form));
        self.with_connection(Purpose::Other, move |mut connection| async move {
            commands::confirm_hand_over(&mut connection, &key, &owner, ttl, &form).await
        })
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.inner.release_sent(owner);
        let (inner, key, owner) = (Arc::clone(&self.inner), key.clone(), *owner);
        Box::pin(async move {
            let (mut connection, origin) = match inner.connector.connection().await {
                Ok(connected) => connected,
                Err(error) => {
                    inner.release_ended(&owner);
                    return Err(error);
                }
            };
            let released = commands::release(&mut connection, &key, &owner, &inner.release_form).await;
            inner.release_ended(&owner);
            released.inspect_err(|error| inner.connector.failed(&origin, error))
        })
    }

    fn release_and_hand_over(&self, key: &Key, owner: &OwnerToken, next: NextWaiter) -> StoreFuture<bool> {
        let Some(mut hand_over) = self.inner.hand_over_to(&next) else { return self.release(key, owner) };
        self.inner.release_sent(owner);
        let (inner, key, owner) = (Arc::clone(&self.inner), key.clone(), *owner);
        Box::pin(async move {
            let form = &inner.release_form;
            let released = wait::commands::release_and_hand_over(&key, &owner, &mut hand_over, form).await;
            inner.release_ended(&owner);
            released
        })
    }

    fn keeps_order(&self) -> bool {
        C::KEEPS_ORDER
    }

    fn register_waiter(&self, key: &Key, owner: &OwnerToken) -> bool {
        self.inner.wait_room.as_ref().is_some_and(|room| room.register(key, owner))
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
            let connector = &inner.connector;
            // A free key costs what it costs on a store without wait queues. One that is left free for other
            // libraries is not to be taken.
            let may_be_left = inner.wait_room.as_ref().is_some_and(|room| room.is_foreign(&key));
            // Made in any case: it is checked whether the server can take back what it grants.
            let (mut connection, origin) = connector.connection().await?;
            if !enqueue.contended && !fenced && !may_be_left {
                let granted = commands::set_if_free(&mut connection, &key, &owner, ttl).await;
                if granted.inspect_err(|error| connector.failed(&origin, error))? {
                    return Ok(Acquired::Granted { fence: None });
                }
            }
            // Boxed: the acquire of a free key does not carry the size of this future.
            if let Some(room) = &inner.wait_room
                && let Some(answer) =
                    Box::pin(room.acquire_or_enqueue(&key, &owner, ttl, fenced, enqueue.waiting_since)).await
            {
                return answer;
            }
            let (mut connection, origin) = connector.connection().await?;
            let lifetime = fenced.then_some(inner.fence_lifetime);
            let answer = commands::acquire(&mut connection, &key, &owner, ttl, lifetime).await;
            answer.inspect_err(|error| connector.failed(&origin, error))
        })
    }

    fn is_queued(&self, owner: &OwnerToken) -> bool {
        self.inner.wait_room.as_ref().is_some_and(|room| room.is_registered(owner))
    }

    fn hint(&self, key: &Key, owner: &OwnerToken) -> HintFuture {
        match &self.inner.wait_room {
            Some(room) => room.hint(key, *owner),
            None => Box::pin(pending()),
        }
    }

    fn wait_for_change(&self, key: &Key) -> HintFuture {
        match &self.inner.wait_room {
            Some(room) => room.key_changed(key),
            None => Box::pin(pending()),
        }
    }

    fn diagnose(&self) -> DiagnosisFuture {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let server = match inner.connector.connection().await {
                Ok((mut connection, _)) => inner.gate.diagnose(&mut connection).await,
                Err(error) => inner.gate.without_connection(&error),
            };
            Diagnosis::new(vec![server])
        })
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let key = key.clone();
        self.with_connection(Purpose::Other, move |mut connection| async move {
            Ok(commands::look(&mut connection, &key).await?.map(|(_, holder)| holder))
        })
    }
}

fn config(reason: String) -> LockError {
    LockError::Config { key: String::new(), reason }
}
