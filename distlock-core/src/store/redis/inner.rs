//! What a store shares with its operations under way, and how keys are granted.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    check::{self, Gate},
    commands,
    connect::{Connector, pool::Pool},
    contended::ContendedKeys,
    failover::FAILOVER_LASTS,
    release_form::ReleaseForm,
    replicated::{Replicas, Writing},
    wait::{DirectHandOver, WaitRoom},
};
use crate::{
    error::{StoreError, StoreErrorKind},
    events::Outage,
    key::Key,
    store::{Acquired, Enqueue, NextWaiter, StoreFuture, diagnosis::ServerDiagnosis},
    token::OwnerToken,
};

/// What a store shares with its operations under way.
pub(super) struct Inner<C> {
    pub(super) connector: C,
    /// `None` over a connection of the caller's, which cannot be subscribed: waiters poll.
    pub(super) wait_room: Option<WaitRoom>,
    pub(super) release_form: Arc<ReleaseForm>,
    pub(super) contended: ContendedKeys,
    /// How long a key's fencing counter outlives the key's last grant.
    pub(super) fence_lifetime: Duration,
    pub(super) gate: Arc<Gate>,
    pub(super) outage: Outage,
    /// The replicas that must have a grant or a renewal; `None` if none need have it.
    pub(super) replicas: Option<Replicas>,
}

impl<C: Connector> Inner<C> {
    /// Called when no connection could be made.
    pub(super) fn no_connection(&self, error: &StoreError) {
        self.outage.no_connection(self.gate.address(), error);
    }

    /// Takes note of whether the server has answered a command.
    pub(super) fn judge<T>(
        &self,
        origin: &C::Origin,
        answer: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &answer {
            Ok(_) => self.outage.answered(self.gate.address()),
            Err(error) => {
                self.outage.command_failed(self.gate.address(), error);
                self.connector.failed(origin, error);
            }
        }
        answer
    }

    /// Asks the server everything.
    pub(super) async fn diagnose(&self) -> ServerDiagnosis {
        let mut connection = match self.connector.connection().await {
            Ok((connection, _)) => connection,
            Err(error) => return self.gate.without_connection(&error),
        };
        let mut server = self.gate.diagnose(&mut connection).await;
        if let Some(room) = &self.wait_room
            && let Some(is_allowed) = room.lets_subscribe(self.gate.namespace()).await
        {
            check::add_subscribe(&mut server, is_allowed);
        }
        server
    }

    /// Lets a waiting call bear an error for as long as a failover may take, if sentinels say where the
    /// server is.
    pub(super) fn borne_in_a_failover<T: 'static>(&self, answer: StoreFuture<T>) -> StoreFuture<T> {
        if !self.gate.may_change() {
            return answer;
        }
        Box::pin(async move { answer.await.map_err(|error| error.borne_for(FAILOVER_LASTS)) })
    }

    /// A grant counts when the replicas have it that must have it.
    pub(super) fn granted(
        self: &Arc<Self>,
        answer: StoreFuture<Acquired>,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
    ) -> StoreFuture<Acquired> {
        let Some(replicas) = self.replicas else { return answer };
        let (inner, key, owner) = (Arc::clone(self), key.clone(), *owner);
        Box::pin(async move {
            let answer = answer.await?;
            if !matches!(answer, Acquired::Granted { .. }) {
                return Ok(answer);
            }
            let (writing, form) = (Writing::Grant, &inner.release_form);
            let confirmed = inner
                .over_pool(async |pool| replicas.write(writing, pool, &key, &owner, ttl, form).await)
                .await;
            match confirmed {
                Ok(true) => Ok(answer),
                // It has lapsed.
                Ok(false) => Ok(Acquired::busy(Some(Duration::ZERO))),
                Err(error) if error.kind() == StoreErrorKind::NotReplicated => Err(error),
                Err(error) => Err(error.after_unknown_outcome()),
            }
        })
    }

    /// Runs commands that may block, over a connection that nothing else uses meanwhile.
    pub(super) async fn over_pool<T>(
        &self,
        commands: impl AsyncFnOnce(&Pool) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (_, origin) = self.connector.connection().await.inspect_err(|error| self.no_connection(error))?;
        let Some(pool) = self.connector.pool(&origin) else {
            return Err(StoreError::new(StoreErrorKind::Refused, "this connection cannot wait for replicas"));
        };
        self.judge(&origin, commands(&pool).await)
    }

    /// Begins a release that hands the key to a waiter of this process, where that is possible.
    pub(super) fn hand_over_to(&self, next: &NextWaiter) -> Option<DirectHandOver> {
        if self.release_form.is_lock_only() { None } else { self.wait_room.as_ref()?.hand_over_to(next) }
    }

    /// Takes the key, or enqueues the owner.
    pub(super) async fn take_or_enqueue(
        self: Arc<Self>,
        key: Key,
        owner: OwnerToken,
        ttl: Duration,
        fenced: bool,
        enqueue: Enqueue,
    ) -> Result<Acquired, StoreError> {
        let connector = &self.connector;
        // A free key costs what it costs on a store without wait queues. One that is left free for other
        // libraries is not to be taken.
        let may_be_left = self.wait_room.as_ref().is_some_and(|room| room.is_foreign(&key));
        let contended = enqueue.contended || self.contended.contains(&key, Instant::now);
        // Made in any case: it is checked whether the server can take back what it grants.
        let (mut connection, origin) =
            connector.connection().await.inspect_err(|error| self.no_connection(error))?;
        if let Some(refusal) = connector.grant_embargo(&origin) {
            return Err(refusal);
        }
        let (lifetime, form) = (fenced.then_some(self.fence_lifetime), &self.release_form);
        if !contended && !may_be_left {
            let granted = commands::take_if_free(&mut connection, &key, &owner, ttl, lifetime, form).await;
            if let Some(granted) = self.judge(&origin, granted)? {
                self.granted_without_queue(&owner);
                return Ok(granted);
            }
            self.contended.note(&key, Instant::now());
        }
        // Boxed: the acquire of a free key does not carry the size of this future.
        if let Some(room) = &self.wait_room
            && let Some(answer) =
                Box::pin(room.acquire_or_enqueue(&key, &owner, ttl, fenced, enqueue.waiting_since)).await
        {
            return answer;
        }
        let (mut connection, origin) = connector.connection().await?;
        let contended = &self.contended;
        let answer = commands::acquire(&mut connection, &key, &owner, ttl, lifetime, contended, form).await;
        if let Ok(Acquired::Granted { .. }) = answer {
            self.granted_without_queue(&owner);
        }
        self.judge(&origin, answer)
    }

    /// Called when a waiter holds the key by a command that knows no wait queue. The waiter may have asked in
    /// its queue before, and is not released if its lease is left to lapse: see `at_least`.
    fn granted_without_queue(&self, owner: &OwnerToken) {
        if let Some(wait_room) = &self.wait_room {
            wait_room.granted(owner);
        }
    }

    /// Called when the owner's release is sent.
    pub(super) fn release_sent(&self, owner: &OwnerToken) {
        if let Some(wait_room) = &self.wait_room {
            wait_room.release_sent(owner);
        }
    }

    /// Called when the owner's release has ended.
    pub(super) fn release_ended(&self, owner: &OwnerToken) {
        if let Some(wait_room) = &self.wait_room {
            wait_room.release_ended(owner);
        }
    }
}
