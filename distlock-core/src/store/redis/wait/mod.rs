//! Waiting on the server: the wait queues of its keys, and the connections over which waiters are told.
//!
//! A [`WaitRoom`] has one [`WaitChannel`] per tokio runtime. From the bottom up:
//! - [`availability`] knows whether the server has wait queues.
//! - [`foreign`] knows which keys other libraries take too.
//! - [`owners`] knows the owner tokens of this process.
//! - [`tracking`] knows which keys have changed, [`registry`] which waiters are registered.
//! - [`wire`] has what scripts and waiters say to each other.
//! - [`channel`] has the connection, and [`offer`] is a release that names a waiter of this process.
//! - [`commands`] sends the scripts.

use std::{
    future::pending,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::RedisResult;
use tokio::time::{Instant, timeout};

mod availability;
mod channel;
pub(super) mod commands;
mod foreign;
mod offer;
mod owners;
mod registry;
mod tracking;
mod wire;

pub(super) use self::offer::DirectHandOver;
use self::{
    availability::Availability,
    channel::{ReleaseElsewhere, WaitChannel},
    foreign::ForeignKeys,
};
use super::{connect::route::Route, errors::Denial, release_form::ReleaseForm};
use crate::{
    error::{StoreError, StoreErrorKind},
    events,
    key::Key,
    runtime::PerRuntime,
    seam,
    store::{Acquired, Hint, HintFuture, NextWaiter},
    token::{Label, OwnerToken},
};

/// The wait channels of one store.
pub(super) struct WaitRoom {
    route: Route,
    /// The longest that making a connection may take.
    patience: Duration,
    channels: Arc<PerRuntime<Arc<WaitChannel>>>,
    /// How long a key's fencing counter outlives the key's last grant.
    fence_lifetime: Duration,
    availability: Availability,
    foreign: ForeignKeys,
    /// A queue of another version was met and reported. Set when that happens first, never cleared.
    has_met_unknown_queue: AtomicBool,
    form: Arc<ReleaseForm>,
    /// The label that connections are named by; `None` for the label of the process.
    label: Option<Label>,
    /// How an unwanted hand-over is released where the key may have moved to another server. Set by the store
    /// of a cluster.
    release_elsewhere: Arc<OnceLock<ReleaseElsewhere>>,
}

impl WaitRoom {
    /// Wait channels to the server at the end of `route`, which are connected when they are first used.
    pub(super) fn new(
        route: &Route,
        patience: Duration,
        fence_lifetime: Duration,
        form: Arc<ReleaseForm>,
        label: Option<Label>,
    ) -> RedisResult<Self> {
        let route = route.with_resp3()?;
        let (channels, availability, foreign, has_met_unknown_queue, release_elsewhere) = Default::default();
        Ok(Self {
            route,
            patience,
            channels,
            fence_lifetime,
            availability,
            foreign,
            has_met_unknown_queue,
            form,
            label,
            release_elsewhere,
        })
    }

    /// The current runtime's channel, made for the first key that needs it and named after that key's
    /// namespace: a store belongs to one manager as a rule. `None` outside of a runtime.
    fn channel(&self, key: &Key) -> Option<Arc<WaitChannel>> {
        let make = || {
            let (route, form) = (self.route.clone(), Arc::clone(&self.form));
            let (patience, lifetime) = (self.patience, self.fence_lifetime);
            let elsewhere = Arc::clone(&self.release_elsewhere);
            Ok(WaitChannel::new(key.namespace(), route, patience, lifetime, form, self.label, elsewhere))
        };
        self.channels.get_or_make(make).ok()
    }

    /// Takes the key, or enqueues the owner; `None` if the server has no wait queues for now.
    pub(super) async fn acquire_or_enqueue(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
        since: Instant,
    ) -> Option<Result<Acquired, StoreError>> {
        if !self.availability.is_worth_trying(Instant::now) {
            return None;
        }
        let channel = self.channel(key)?;
        let moves = || self.move_to(&channel, owner);
        match commands::acquire_or_enqueue(&channel, key, owner, ttl, fenced, since, moves).await {
            Ok(answer) => {
                self.availability.worked();
                self.foreign.note(key, answer.ask_every, Instant::now);
                if answer.unknown_queue && !self.has_met_unknown_queue.swap(true, Ordering::Relaxed) {
                    events::unknown_queue(key);
                }
                Some(Ok(answer.acquired))
            }
            Err(error) if error.kind() == StoreErrorKind::Refused => {
                self.availability.refused(&error, Instant::now());
                // From now on the waiters of this store poll. What is left of them on the server lapses.
                self.channels.for_each(|channel| channel.registry().withdraw_all());
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether the server lets waiters be told by messages; `None` if no connection shows that.
    pub(super) async fn lets_subscribe(&self, namespace: &str) -> Option<bool> {
        match self.channel(&Key::stored(namespace, ""))?.connection().await {
            Ok(_) => Some(true),
            Err(error) => {
                let text = error.to_string();
                let is_denied = Denial::of(&text) == Some(Denial::Command) && text.contains("subscribe");
                is_denied.then_some(false)
            }
        }
    }

    /// Forgets a waiter at the channels of other runtimes: its call has moved to this one, where it asks. It
    /// then finds a lease that it was handed over there.
    fn move_to(&self, channel: &Arc<WaitChannel>, owner: &OwnerToken) {
        self.channels.for_each(|other| {
            if !Arc::ptr_eq(other, channel) {
                other.registry().granted(owner);
            }
        });
    }

    /// The channel at which a waiter is registered. A call may have moved to another runtime since it asked.
    fn channel_of(&self, owner: &OwnerToken) -> Option<Arc<WaitChannel>> {
        if !self.availability.is_given() {
            return None;
        }
        self.channels.find_map(|channel| channel.registry().is_registered(owner).then(|| Arc::clone(channel)))
    }

    /// Registers a waiter that has not asked; false if its channel is not connected.
    pub(super) fn register(&self, key: &Key, owner: &OwnerToken) -> bool {
        self.availability.is_given()
            && self.channel(key).is_some_and(|channel| channel.register_if_connected(key, owner))
    }

    /// Whether the owner is registered at a channel.
    pub(super) fn is_registered(&self, owner: &OwnerToken) -> bool {
        self.channel_of(owner).is_some()
    }

    /// Forgets a waiter that asks at another server. A hand-over that this server still tells of is left to
    /// that question.
    #[cfg(feature = "cluster")]
    pub(super) fn leave_to_other_server(&self, owner: &OwnerToken) {
        self.granted(owner);
    }

    /// Sets how an unwanted hand-over is released: its key may have moved to another server.
    #[cfg(feature = "cluster")]
    pub(super) fn release_elsewhere(&self, release: impl Fn(Key, OwnerToken) + Send + Sync + 'static) {
        let _ = self.release_elsewhere.set(Box::new(release));
    }

    /// Whether other libraries are known to take the key too.
    pub(super) fn is_foreign(&self, key: &Key) -> bool {
        self.foreign.ask_every(key, Instant::now).is_some()
    }

    /// Ends when the owner may have its key; see [`Store::hint`](crate::Store::hint).
    ///
    /// If other libraries take the key too, it also ends when it is time to ask.
    pub(super) fn hint(&self, key: &Key, owner: OwnerToken) -> HintFuture {
        let Some(channel) = self.channel_of(&owner) else { return Box::pin(pending()) };
        let Some(every) = self.foreign.ask_every(key, Instant::now) else {
            return Box::pin(channel.hint(owner));
        };
        // By chance, so that processes do not ask in step.
        let pause = every.mul_f64(0.5 + seam::fraction());
        Box::pin(
            async move { timeout(pause, channel.registry().hint(owner)).await.unwrap_or(Hint::MayBeFree) },
        )
    }

    /// Ends when the key has changed; see [`Store::wait_for_change`](crate::Store::wait_for_change).
    pub(super) fn key_changed(&self, key: &Key) -> HintFuture {
        match self.channel(key).filter(|_| self.availability.is_worth_trying(Instant::now)) {
            Some(channel) => Box::pin(channel.key_changed(key.clone())),
            None => Box::pin(pending()),
        }
    }

    /// Begins a release that hands the key to a waiter of this process; `None` if the waiter is not
    /// registered.
    pub(super) fn hand_over_to(&self, next: &NextWaiter) -> Option<DirectHandOver> {
        self.channels.find_map(|channel| DirectHandOver::begin(channel, next))
    }

    /// Called when the owner holds the key by another way than its wait queue.
    pub(super) fn granted(&self, owner: &OwnerToken) {
        self.channels.for_each(|channel| channel.registry().granted(owner));
    }

    /// Called when the owner's release is sent. A hand-over that arrives later is released again.
    pub(super) fn release_sent(&self, owner: &OwnerToken) {
        self.channels.for_each(|channel| channel.registry().release_sent(owner));
    }

    /// Called when the owner's release has ended, in whatever way.
    pub(super) fn release_ended(&self, owner: &OwnerToken) {
        self.channels.for_each(|channel| channel.registry().unregister(owner));
    }
}
