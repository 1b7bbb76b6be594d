//! One server of a cluster, with the commands that a server does while a slot is moving.

use std::{sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;

use super::{
    super::{Purpose, RedisStore, commands, connect::Connector, release_form::ReleaseForm},
    asking::AskingConnection,
    single_key::{self, Found, Part},
};
use crate::{
    error::StoreError,
    holder::Holder,
    key::Key,
    store::{Store, StoreFuture},
    token::OwnerToken,
};

/// A server of a cluster.
pub(super) struct Node {
    pub(super) store: RedisStore,
    pub(super) host: String,
    pub(super) port: u16,
}

/// How a command that names one key is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// To the server that has the slot.
    Plain,
    /// To the server to which the slot is moving.
    Asking,
}

impl Node {
    /// Connects, which shows whether the server answers and is fit for locks.
    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        match self.store.inner.connector.connection().await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.at(self.store.address())),
        }
    }

    /// Runs a command over the connection for commands.
    fn send<T, F>(
        &self,
        purpose: Purpose,
        sending: Sending,
        operation: impl FnOnce(AskingConnection<MultiplexedConnection>) -> F + Send + 'static,
    ) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let asks = sending == Sending::Asking;
        self.store
            .with_connection(purpose, move |connection| operation(AskingConnection { connection, asks }))
    }

    /// Takes the key if it is free.
    pub(super) fn take(
        &self,
        sending: Sending,
        key: &Key,
        owner: OwnerToken,
        ttl: Duration,
    ) -> StoreFuture<Found> {
        let key = key.clone();
        self.send(Purpose::Grant, sending, move |mut connection| async move {
            single_key::take(&mut connection, &key, &owner, ttl).await
        })
    }

    /// Lets the owner's lease last `ttl` from now.
    pub(super) fn renew(
        &self,
        sending: Sending,
        key: &Key,
        owner: OwnerToken,
        ttl: Duration,
    ) -> StoreFuture<bool> {
        let key = key.clone();
        self.send(Purpose::Other, sending, move |mut connection| async move {
            commands::renew(&mut connection, &key, &owner, ttl, &ReleaseForm::default()).await
        })
    }

    /// Ends the owner's lease, without a look at the wait queue.
    pub(super) fn release(&self, sending: Sending, key: &Key, owner: OwnerToken) -> StoreFuture<bool> {
        let key = key.clone();
        self.send(Purpose::Other, sending, move |mut connection| async move {
            single_key::release(&mut connection, &key, &owner).await
        })
    }

    /// Removes the mark of a hand-over to the owner that was not claimed.
    pub(super) fn forget_claim(&self, sending: Sending, key: &Key, owner: OwnerToken) -> StoreFuture<bool> {
        let key = key.clone();
        self.send(Purpose::Other, sending, move |mut connection| async move {
            single_key::forget_claim(&mut connection, &key, &owner).await
        })
    }

    /// Removes the owner from a part of the wait queue.
    pub(super) fn leave(
        &self,
        sending: Sending,
        key: &Key,
        owner: OwnerToken,
        part: Part,
    ) -> StoreFuture<bool> {
        let key = key.clone();
        self.send(Purpose::Other, sending, move |mut connection| async move {
            single_key::leave(&mut connection, &key, &owner, part).await
        })
    }

    /// Answers the key's holder.
    pub(super) fn inspect(&self, sending: Sending, key: &Key) -> StoreFuture<Option<Holder>> {
        let key = key.clone();
        self.send(Purpose::Other, sending, move |mut connection| async move {
            Ok(commands::look(&mut connection, &key).await?.map(|(_, holder)| holder))
        })
    }

    /// Whether the owner waits at this server, in the current runtime.
    pub(super) fn has_waiter(&self, owner: &OwnerToken) -> bool {
        self.store.is_queued(owner)
    }

    /// Forgets a waiter that asks at another server.
    pub(super) fn forget_waiter(&self, owner: &OwnerToken) {
        if let Some(room) = &self.store.inner.wait_room {
            room.leave_to_other_server(owner);
        }
    }

    /// Called when the owner's release is sent, to whatever server.
    pub(super) fn release_sent(&self, owner: &OwnerToken) {
        self.store.inner.release_sent(owner);
    }

    /// Called when the owner's release has ended.
    pub(super) fn release_ended(&self, owner: &OwnerToken) {
        self.store.inner.release_ended(owner);
    }

    /// Sets how a hand-over is released that came too late for its waiter.
    pub(super) fn release_elsewhere(&self, release: Arc<dyn Fn(Key, OwnerToken) + Send + Sync>) {
        if let Some(room) = &self.store.inner.wait_room {
            room.release_elsewhere(move |key, owner| release(key, owner));
        }
    }
}
