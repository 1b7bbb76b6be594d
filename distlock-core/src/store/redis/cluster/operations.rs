//! The operations of a cluster, with what each of them does while the key's slot is moving.

use std::{sync::Arc, time::Duration};

use super::{
    super::{RedisStore, failover::FAILOVER_LASTS, keys::slot_of},
    node::Node,
    routing::{Whole, single, whole},
    servers::Servers,
    single_key::{Found, Part},
};
use crate::{
    error::{StoreError, StoreErrorKind},
    holder::{Holder, HolderId},
    key::Key,
    store::{Acquired, Enqueue, NextWaiter, Store},
    token::{FencingToken, OwnerToken},
};

/// One key at the cluster, as one owner uses it.
#[derive(Clone)]
pub(super) struct KeyAtCluster {
    pub(super) servers: Arc<Servers>,
    pub(super) key: Key,
    pub(super) owner: OwnerToken,
    pub(super) slot: u16,
}

impl KeyAtCluster {
    pub(super) fn new(servers: &Arc<Servers>, key: &Key, owner: &OwnerToken) -> Self {
        Self { servers: Arc::clone(servers), key: key.clone(), owner: *owner, slot: slot_of(key) }
    }

    pub(super) async fn acquire(self, ttl: Duration, fenced: bool) -> Result<Acquired, StoreError> {
        let send = |store: &RedisStore| store.acquire(&self.key, &self.owner, ttl, fenced);
        match whole(&self.servers, self.slot, send).await? {
            Whole::Answered(answer) => Ok(answer),
            Whole::Moving => self.acquire_by_one_key(ttl, fenced).await,
        }
    }

    pub(super) async fn acquire_proposed(
        self,
        ttl: Duration,
        proposal: FencingToken,
    ) -> Result<Acquired, StoreError> {
        let send = |store: &RedisStore| store.acquire_proposed(&self.key, &self.owner, ttl, proposal);
        match whole(&self.servers, self.slot, send).await? {
            Whole::Answered(answer) => Ok(answer),
            Whole::Moving => self.acquire_by_one_key(ttl, true).await,
        }
    }

    /// A call that waits waits through a failover, even if that takes longer than its ttl.
    pub(super) async fn acquire_or_enqueue(
        self,
        ttl: Duration,
        fenced: bool,
        enqueue: Enqueue,
    ) -> Result<Acquired, StoreError> {
        let asked = self.ask_in_queue(ttl, fenced, enqueue).await;
        asked.map_err(|error| error.borne_for(FAILOVER_LASTS))
    }

    async fn ask_in_queue(
        &self,
        ttl: Duration,
        fenced: bool,
        enqueue: Enqueue,
    ) -> Result<Acquired, StoreError> {
        let send =
            |store: &RedisStore| store.acquire_or_enqueue(&self.key, &self.owner, ttl, fenced, enqueue);
        match whole(&self.servers, self.slot, send).await? {
            Whole::Answered(answer) => {
                self.forget_at_other_servers();
                Ok(answer)
            }
            Whole::Moving => self.acquire_by_one_key(ttl, fenced).await,
        }
    }

    /// A waiter that the slot's server knows is not a waiter of the server that had the slot before.
    fn forget_at_other_servers(&self) {
        let Some(asked) = self.servers.slots.node_of(self.slot) else { return };
        for node in self.servers.slots.nodes() {
            if !Arc::ptr_eq(&node, &asked) && node.has_waiter(&self.owner) {
                node.forget_waiter(&self.owner);
            }
        }
    }

    /// Takes the key while its slot is moving. A fencing token needs a second key, and so waits.
    async fn acquire_by_one_key(&self, ttl: Duration, fenced: bool) -> Result<Acquired, StoreError> {
        if fenced {
            return self.look_before_a_fence().await;
        }
        let Self { servers, key, owner, slot } = self;
        match single(servers, *slot, |node, sending| node.take(sending, key, *owner, ttl)).await? {
            Found::Taken => Ok(Acquired::granted(None)),
            // Handed over, or an acquire was sent twice: the question counts as the claim.
            Found::Own if self.confirm_by_one_key(ttl).await? => Ok(Acquired::granted(None)),
            Found::Own => Ok(Acquired::busy(Some(Duration::ZERO))),
            Found::Others { remaining } => Ok(Acquired::busy(remaining)),
        }
    }

    /// Answers for a fenced acquire, which cannot be granted now.
    async fn look_before_a_fence(&self) -> Result<Acquired, StoreError> {
        let Self { servers, key, slot, .. } = self;
        match single(servers, *slot, |node, sending| node.inspect(sending, key)).await? {
            Some(Holder { remaining, .. }) => Ok(Acquired::busy(remaining)),
            None => Err(moving("a fencing token can be drawn when it has moved")),
        }
    }

    pub(super) async fn raise_fence(self, fence: FencingToken) -> Result<bool, StoreError> {
        let send = |store: &RedisStore| store.raise_fence(&self.key, &self.owner, fence);
        match whole(&self.servers, self.slot, send).await? {
            Whole::Answered(raised) => Ok(raised),
            Whole::Moving => Err(moving("the fencing counter can be raised when it has moved")),
        }
    }

    pub(super) async fn take_again(
        self,
        rest_of_ttl: Duration,
        fence: Option<FencingToken>,
    ) -> Result<bool, StoreError> {
        let send = |store: &RedisStore| store.take_again(&self.key, &self.owner, rest_of_ttl, fence);
        match whole(&self.servers, self.slot, send).await? {
            Whole::Answered(taken) => Ok(taken),
            Whole::Moving => Err(moving("the key can be taken again when it has moved")),
        }
    }

    /// A waiting call renews a grant that was in doubt, and bears errors as those of its acquire.
    pub(super) async fn renew(self, ttl: Duration) -> Result<bool, StoreError> {
        let Self { servers, key, owner, slot } = &self;
        let renewed = single(servers, *slot, |node, sending| node.renew(sending, key, *owner, ttl)).await;
        renewed.map_err(|error| error.borne_for(FAILOVER_LASTS))
    }

    pub(super) async fn confirm_hand_over(self, ttl: Duration) -> Result<bool, StoreError> {
        let send = |store: &RedisStore| store.confirm_hand_over(&self.key, &self.owner, ttl);
        match whole(&self.servers, self.slot, send).await? {
            Whole::Answered(confirmed) => Ok(confirmed),
            Whole::Moving => self.confirm_by_one_key(ttl).await,
        }
    }

    /// Claims a lease while its slot is moving: first the mark of the hand-over goes, then the lease lasts.
    async fn confirm_by_one_key(&self, ttl: Duration) -> Result<bool, StoreError> {
        let Self { servers, key, owner, slot } = self;
        single(servers, *slot, |node, sending| node.forget_claim(sending, key, *owner)).await?;
        single(servers, *slot, |node, sending| node.renew(sending, key, *owner, ttl)).await
    }

    /// Releases the key, and hands it over to a waiter of this process or another one. `at` are the servers
    /// that were told that the release is being sent.
    pub(super) async fn release(
        self,
        next: Option<NextWaiter>,
        at: Vec<Arc<Node>>,
    ) -> Result<bool, StoreError> {
        let released = self.send_release(next).await;
        for node in at {
            node.release_ended(&self.owner);
        }
        released
    }

    async fn send_release(&self, next: Option<NextWaiter>) -> Result<bool, StoreError> {
        let Self { servers, key, owner, slot } = self;
        let send = |store: &RedisStore| match &next {
            Some(next) => store.release_and_hand_over(key, owner, next.clone()),
            None => store.release(key, owner),
        };
        if let Whole::Answered(released) = whole(servers, *slot, send).await? {
            return Ok(released);
        }
        let released = single(servers, *slot, |node, sending| node.release(sending, key, *owner)).await?;
        if released {
            return Ok(true);
        }
        // It may be a waiter that gives up.
        let mut has_left = false;
        for part in [Part::Order, Part::Entries] {
            has_left |=
                single(servers, *slot, |node, sending| node.leave(sending, key, *owner, part)).await?;
        }
        Ok(has_left)
    }

    /// The holder, with the number of its waiters unless the slot is moving.
    pub(super) async fn inspect(self) -> Result<Option<Holder>, StoreError> {
        let Self { servers, key, slot, .. } = &self;
        match whole(servers, *slot, |store| store.inspect(key)).await? {
            Whole::Answered(holder) => Ok(holder),
            Whole::Moving => single(servers, *slot, |node, sending| node.inspect(sending, key)).await,
        }
    }

    pub(super) async fn break_lock(self, holder: HolderId) -> Result<bool, StoreError> {
        match whole(&self.servers, self.slot, |store| store.break_lock(&self.key, holder)).await? {
            Whole::Answered(is_broken) => Ok(is_broken),
            Whole::Moving => Err(moving("the lock can be broken when it has moved")),
        }
    }
}

/// The error of a command that needs several keys, whose slot is moving.
fn moving(when: &str) -> StoreError {
    let detail = format!("the key's slot is moving to another server of the cluster; {when}");
    StoreError::new(StoreErrorKind::Unavailable, detail)
}
