//! Leases on one Redis server.
//!
//! From the bottom up:
//! - [`keys`] has the names of a lock's keys, [`errors`] says what a failure means, [`settings`] how a server
//!   is used.
//! - `tls` has certificates of the user's own.
//! - [`script`] sends a Lua script, [`restart`] knows when a restarted server may grant leases again.
//! - [`contended`] remembers the keys that were found held.
//! - [`check`] finds out whether the server is fit for locks.
//! - [`commands`] are the commands of a lease over a connection, [`connect`] gives the connections.
//! - [`wait`] has the wait queues.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Acquired, Diagnosis, DiagnosisFuture, Enqueue, HintFuture, Holder, NextWaiter, Store, StoreFuture,
};
use crate::{
    error::{LockError, StoreError, StoreErrorKind},
    key::Key,
    token::{FencingToken, OwnerToken},
};

mod check;
mod commands;
mod connect;
mod contended;
mod errors;
mod keys;
mod restart;
mod script;
mod settings;
mod take_again;
#[cfg(feature = "tls")]
mod tls;
mod wait;

use check::{Gate, Server};
use commands::ReleaseForm;
pub(crate) use connect::endpoint::{Endpoint, Login};
use connect::{Connector, callers_own::CallerConnection, endpoint::bad_url, single::PerRuntimeConnection};
use contended::ContendedKeys;
pub use keys::names_on_server;
pub(crate) use settings::{Role, Settings};
#[cfg(feature = "tls")]
pub use tls::Tls;
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
    contended: ContendedKeys,
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
    /// The store at one of redis-rs's URLs, such as `redis://`, `rediss://` or `unix://`, with the default
    /// timeouts. The first use connects.
    ///
    /// redis-rs ignores parameters that it does not know, among them the settings that
    /// [`LockManager::connect`](crate::LockManager::connect) takes.
    ///
    /// # Errors
    /// [`LockError::Config`] for a URL that is not understood.
    pub fn open(url: &str) -> Result<Self, LockError> {
        Self::at(Endpoint::from_url(url, &Login::default())?, None, Settings::default())
    }

    /// The store at a server, with these settings, for keys of this namespace if it is known. The first use
    /// connects.
    ///
    /// # Errors
    /// [`LockError::Config`] for a timeout of zero.
    pub(crate) fn at(
        endpoint: Endpoint,
        namespace: Option<&str>,
        settings: Settings,
    ) -> Result<Self, LockError> {
        settings.check().map_err(config)?;
        #[cfg(feature = "tls")]
        tls::ensure_crypto_provider();
        let (restart_delay, release_form) = match settings.role {
            Role::Single => (Duration::ZERO, ReleaseForm::default()),
            Role::QuorumNode { restart_delay } => (restart_delay, ReleaseForm::lock_only()),
        };
        let (connection, patience) = (endpoint.connection(&settings), settings.connect_timeout);
        let release_form = Arc::new(release_form);
        let (form, lifetime) = (Arc::clone(&release_form), settings.fence_lifetime);
        let wait_room = WaitRoom::new(&endpoint.client, connection.clone(), patience, lifetime, form)
            .map_err(|error| bad_url(&error))?;
        let (address, namespace) = (endpoint.address.clone(), namespace.map(str::to_owned));
        let gate = Arc::new(Gate::new(Server { address, namespace, role: settings.role }));
        let for_connections = Arc::clone(&gate);
        let connector =
            PerRuntimeConnection::new(endpoint, connection, patience, restart_delay, for_connections);
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
    CallerConnection<C>: Connector<Origin = ()>,
{
    /// The store over a connection that the caller made.
    pub(crate) fn from_connection(connection: C, fence_lifetime: Duration) -> Self {
        let address = "own connection".to_owned();
        let gate = Gate::new(Server { address, namespace: None, role: Role::Single });
        Self::assemble(CallerConnection(connection), None, Arc::default(), fence_lifetime, Arc::new(gate))
    }

    /// Asks whether the server answers.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        let (mut connection, ()) = self.inner.connector.connection().await?;
        redis::cmd("PING").query_async::<()>(&mut connection).await.map_err(errors::classify)
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
        let contended = ContendedKeys::default();
        Self {
            inner: Arc::new(Inner { connector, wait_room, release_form, contended, fence_lifetime, gate }),
        }
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

    /// Called when a waiter holds the key by a command that knows no wait queue. The waiter may have asked in
    /// its queue before, and is not released if its lease is left to lapse: see `at_least`.
    fn granted_without_queue(&self, owner: &OwnerToken) {
        if let Some(wait_room) = &self.wait_room {
            wait_room.granted(owner);
        }
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
        let (inner, key, owner) = (Arc::clone(&self.inner), key.clone(), *owner);
        self.with_connection(Purpose::Grant, move |mut connection| async move {
            let lifetime = fenced.then_some(inner.fence_lifetime);
            commands::acquire(&mut connection, &key, &owner, ttl, lifetime, &inner.contended).await
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
            let contended = enqueue.contended || inner.contended.contains(&key, Instant::now);
            // Made in any case: it is checked whether the server can take back what it grants.
            let (mut connection, origin) = connector.connection().await?;
            if !contended && !fenced && !may_be_left {
                let granted = commands::set_if_free(&mut connection, &key, &owner, ttl).await;
                if granted.inspect_err(|error| connector.failed(&origin, error))? {
                    inner.granted_without_queue(&owner);
                    return Ok(Acquired::Granted { fence: None });
                }
                inner.contended.note(&key, Instant::now());
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
            let contended = &inner.contended;
            let answer = commands::acquire(&mut connection, &key, &owner, ttl, lifetime, contended).await;
            if let Ok(Acquired::Granted { .. }) = answer {
                inner.granted_without_queue(&owner);
            }
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
