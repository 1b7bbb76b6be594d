//! Leases on one Redis server.
//!
//! From the bottom up:
//! - [`keys`] has the names of a lock's keys, [`errors`] says what a failure means, [`redirect`] what a
//!   cluster's server answers, [`settings`] how a server is used.
//! - `tls` has certificates of the user's own.
//! - [`script`] sends a Lua script, [`restart`] knows when a restarted server may grant leases again.
//! - [`release_form`] knows how a store's releases are sent.
//! - [`contended`] remembers the keys that were found held.
//! - [`check`] finds out whether the server is fit for locks.
//! - [`commands`] are the commands of a lease over a connection, [`connect`] gives the connections.
//! - [`holders`] reads holders, and breaks a lock.
//! - [`wait`] has the wait queues.
//! - [`embargo`] and [`failover`] know when a new primary may grant, [`replicated`] waits for replicas.
//! - [`inner`] grants keys by all of these.
//! - [`cluster`] is a store over one of these stores for each primary of a cluster.

use std::{future::pending, sync::Arc, time::Duration};

use super::{
    Acquired, Diagnosis, DiagnosisFuture, Enqueue, HintFuture, HolderPages, NextWaiter, Store, StoreFuture,
};
use crate::{
    error::{LockError, StoreError, StoreErrorKind},
    events::Outage,
    holder::{Holder, HolderId},
    key::Key,
    token::{FencingToken, OwnerToken},
};

mod check;
#[cfg(feature = "cluster")]
pub(crate) mod cluster;
mod commands;
mod connect;
mod contended;
mod embargo;
mod errors;
mod failover;
mod holders;
mod inner;
mod keys;
mod redirect;
mod release_form;
mod replicated;
mod restart;
mod script;
mod settings;
mod take_again;
#[cfg(feature = "tls")]
mod tls;
mod wait;

use check::{Gate, Server};
#[cfg(feature = "credentials")]
pub(crate) use connect::credentials::Credentials;
pub(crate) use connect::endpoint::{Endpoint, Login};
use connect::{
    Connector, callers_own::CallerConnection, endpoint::bad_url, route::Route, single::PerRuntimeConnection,
};
use contended::ContendedKeys;
use holders::Listing;
use inner::Inner;
pub use keys::names_on_server;
use release_form::ReleaseForm;
use replicated::{Replicas, Writing};
pub(crate) use settings::{Role, Settings};
#[cfg(feature = "tls")]
pub use tls::Tls;
use wait::WaitRoom;

/// Keeps leases on one Redis or Valkey server, over one connection per tokio runtime that uses it.
///
/// An acquire is `SET key owner NX PX ttl`. Renewal and release are scripts that compare the owner token.
pub struct RedisStore<C = PerRuntimeConnection> {
    inner: Arc<Inner<C>>,
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
        let (restart_delay, release_form, outage) = match settings.role {
            Role::Single => (Duration::ZERO, ReleaseForm::default(), Outage::default()),
            Role::QuorumNode { restart_delay } => (restart_delay, ReleaseForm::lock_only(), Outage::silent()),
            #[cfg(feature = "cluster")]
            Role::ClusterNode { .. } => (Duration::ZERO, ReleaseForm::default(), Outage::default()),
        };
        let (route, patience) = (Route::new(&endpoint, namespace, &settings), settings.connect_timeout);
        let release_form = Arc::new(release_form);
        let (form, lifetime) = (Arc::clone(&release_form), settings.fence_lifetime);
        let wait_room = WaitRoom::new(&route, patience, lifetime, form, settings.label)
            .map_err(|error| bad_url(&error))?;
        let may_change = endpoint.is_found_by_sentinels();
        let (address, namespace) = (endpoint.address, namespace.map(str::to_owned));
        let has_failover_delay = !settings.failover_delay.is_zero();
        let Settings { role, replicas, label, .. } = settings;
        let is_callers_own = false;
        let server = Server {
            address,
            namespace,
            role,
            label,
            may_change,
            has_failover_delay,
            is_callers_own,
            replicas,
        };
        let gate = Arc::new(Gate::new(server));
        let replicas = Replicas::new(settings.replicas, settings.response_timeout);
        let (for_connections, has_pool) = (Arc::clone(&gate), replicas.is_some());
        let connector = PerRuntimeConnection::new(route, patience, restart_delay, for_connections, has_pool);
        let (contended, wait_room) = (ContendedKeys::default(), Some(wait_room));
        let fence_lifetime = lifetime;
        let inner =
            Inner { connector, wait_room, release_form, contended, fence_lifetime, gate, outage, replicas };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Host and port, for messages.
    pub(crate) fn address(&self) -> &str {
        self.inner.gate.address()
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
    /// The store over a connection that the caller made, for keys of this namespace.
    pub(crate) fn from_connection(connection: C, namespace: &str, fence_lifetime: Duration) -> Self {
        let (release_form, contended, outage) = (Arc::default(), ContendedKeys::default(), Outage::default());
        let gate = Arc::new(Gate::new(Server::of_caller(namespace)));
        let connector = CallerConnection { connection, gate: Arc::clone(&gate) };
        let (wait_room, replicas) = (None, None);
        let inner =
            Inner { connector, wait_room, release_form, contended, fence_lifetime, gate, outage, replicas };
        Self { inner: Arc::new(inner) }
    }
}

impl<C: Connector> RedisStore<C> {
    /// Another handle on the same store.
    fn same(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }

    /// Connects, which shows whether the server answers and is fit for locks.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        match self.inner.connector.connection().await {
            Ok(_) => Ok(()),
            // At the start of a program no failover is waited for, unless sentinels have named the replica.
            Err(error) if error.kind() == StoreErrorKind::ReadOnly && !self.inner.gate.may_change() => {
                Err(StoreError::new(StoreErrorKind::Unfit, error.to_string()).at(self.inner.gate.address()))
            }
            Err(error) => Err(error.at(self.inner.gate.address())),
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
            let (connection, origin) =
                inner.connector.connection().await.inspect_err(|error| inner.no_connection(error))?;
            if purpose == Purpose::Grant
                && let Some(refusal) = inner.connector.grant_embargo(&origin)
            {
                return Err(refusal);
            }
            inner.judge(&origin, operation(connection).await)
        })
    }
}

impl<C: Connector> Store for RedisStore<C> {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (inner, asked, by) = (Arc::clone(&self.inner), key.clone(), *owner);
        let answer = self.with_connection(Purpose::Grant, move |mut connection| async move {
            let (lifetime, form) = (fenced.then_some(inner.fence_lifetime), &inner.release_form);
            commands::acquire(&mut connection, &asked, &by, ttl, lifetime, &inner.contended, form).await
        });
        self.inner.granted(answer, key, owner, ttl)
    }

    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        let (key, owner, lifetime) = (key.clone(), *owner, self.inner.fence_lifetime);
        let form = Arc::clone(&self.inner.release_form);
        self.with_connection(Purpose::Grant, move |mut connection| async move {
            commands::acquire_fenced(&mut connection, &key, &owner, ttl, lifetime, Some(proposal), &form)
                .await
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

    /// A waiting call renews a grant that was in doubt, and bears errors as those of its acquire.
    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (key, owner, form) = (key.clone(), *owner, Arc::clone(&self.inner.release_form));
        let renewed: StoreFuture<bool> = if let Some(replicas) = self.inner.replicas {
            let inner = Arc::clone(&self.inner);
            Box::pin(async move {
                let writing = Writing::Renewal;
                inner
                    .over_pool(async |pool| replicas.write(writing, pool, &key, &owner, ttl, &form).await)
                    .await
            })
        } else {
            self.with_connection(Purpose::Other, move |mut connection| async move {
                commands::renew(&mut connection, &key, &owner, ttl, &form).await
            })
        };
        self.inner.borne_in_a_failover(renewed)
    }

    fn confirm_hand_over(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (key, owner, form) = (key.clone(), *owner, Arc::clone(&self.inner.release_form));
        if let Some(replicas) = self.inner.replicas {
            let inner = Arc::clone(&self.inner);
            return Box::pin(async move {
                let writing = Writing::HandOver;
                inner
                    .over_pool(async |pool| replicas.write(writing, pool, &key, &owner, ttl, &form).await)
                    .await
            });
        }
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
                    inner.no_connection(&error);
                    inner.release_ended(&owner);
                    return Err(error);
                }
            };
            // Whether the next waiter may have the key is not known during an embargo.
            let may_grant = inner.connector.grant_embargo(&origin).is_none();
            let lock_only = ReleaseForm::lock_only();
            let form = if may_grant { &*inner.release_form } else { &lock_only };
            let released = commands::release(&mut connection, &key, &owner, form).await;
            inner.release_ended(&owner);
            inner.judge(&origin, released)
        })
    }

    fn release_and_hand_over(&self, key: &Key, owner: &OwnerToken, next: NextWaiter) -> StoreFuture<bool> {
        // The waiter would begin before replicas have its lease.
        let next = self.inner.replicas.is_none().then_some(next);
        let Some(mut hand_over) = next.and_then(|next| self.inner.hand_over_to(&next)) else {
            return self.release(key, owner);
        };
        self.inner.release_sent(owner);
        let (inner, key, owner) = (Arc::clone(&self.inner), key.clone(), *owner);
        Box::pin(async move {
            let form = &inner.release_form;
            let released = wait::commands::release_and_hand_over(&key, &owner, &mut hand_over, form).await;
            inner.release_ended(&owner);
            released
        })
    }

    fn draws_fences_at_its_clock(&self) -> bool {
        true
    }

    fn confirms_before_use(&self) -> bool {
        self.inner.replicas.is_some()
    }

    fn keeps_order(&self) -> bool {
        C::KEEPS_ORDER
    }

    fn register_waiter(&self, key: &Key, owner: &OwnerToken) -> bool {
        // A release names no waiter of this process then.
        let is_named = self.inner.replicas.is_none();
        is_named && self.inner.wait_room.as_ref().is_some_and(|room| room.register(key, owner))
    }

    fn acquire_or_enqueue(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
        enqueue: Enqueue,
    ) -> StoreFuture<Acquired> {
        let answer = Arc::clone(&self.inner).take_or_enqueue(key.clone(), *owner, ttl, fenced, enqueue);
        let answer = self.inner.granted(Box::pin(answer), key, owner, ttl);
        self.inner.borne_in_a_failover(answer)
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
        Box::pin(async move { Diagnosis::new(vec![inner.diagnose().await]) })
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let (key, has_queues) = (key.clone(), self.inner.release_form.has_queues());
        self.with_connection(Purpose::Other, move |mut connection| async move {
            holders::inspect(&mut connection, &key, has_queues).await
        })
    }

    fn list(&self, namespace: &str, prefix: &str) -> HolderPages {
        let (store, has_queues) = (self.same(), self.inner.release_form.has_queues());
        HolderPages::new(Listing::new(namespace, prefix), move |mut listing| {
            store.with_connection(Purpose::Other, move |mut connection| async move {
                let page = listing.read_page(&mut connection, has_queues).await?;
                Ok(page.map(|page| (page, listing)))
            })
        })
    }

    fn break_lock(&self, key: &Key, holder: HolderId) -> StoreFuture<bool> {
        let key = key.clone();
        self.with_connection(Purpose::Other, move |mut connection| async move {
            holders::break_lock(&mut connection, &key, holder).await
        })
    }
}

fn config(reason: String) -> LockError {
    LockError::Config { key: String::new(), reason }
}
