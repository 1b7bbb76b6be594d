//! Leases on a Redis or Valkey Cluster: one store of a single server for each primary, and a slot map.
//!
//! From the bottom up:
//! - [`asking`] sends `ASKING` before each command. [`single_key`] has the commands that name one key, and
//!   [`node`] is one server.
//! - [`topology`] asks which server has which slot, [`slots`] keeps the answer, and [`servers`] brings it
//!   up to date.
//! - [`routing`] sends a command to the server of its key, and follows the key. [`operations`] are the
//!   operations of a store, and [`listing`] lists the holders of all servers.
//!
//! A waiter is told of hand-overs by the primary of its key, over the connection by which it has asked there.
//! If the slot gets another server, the waiter asks there at once, and keeps its time of arrival. While the
//! slot moves key by key, its waiters poll.

use std::{
    future::pending,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};

mod asking;
mod listing;
mod node;
mod operations;
mod routing;
mod servers;
mod single_key;
mod slots;
mod topology;

use self::{node::Node, operations::KeyAtCluster, servers::Servers};
use super::{
    connect::endpoint::{Endpoint, Login},
    keys::slot_of,
    settings::Settings,
};
use crate::{
    error::{LockError, StoreError, StoreErrorKind},
    holder::{Holder, HolderId},
    key::Key,
    seam,
    store::{
        Acquired, Diagnosis, DiagnosisFuture, Enqueue, Hint, HintFuture, HolderPages, NextWaiter, Store,
        StoreFuture,
    },
    token::{FencingToken, OwnerToken},
};

/// How often a waiter asks while the slot of its key is moving.
const POLL_EVERY: Duration = Duration::from_millis(30);
/// How long the primaries have to say, at the start, whether they are fit for locks.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// Keeps leases on a Redis or Valkey Cluster, over one connection per primary and tokio runtime.
///
/// Each key's lease is on the primary of the key's slot. If the slot moves, or a replica takes over, the
/// lease goes along as far as the cluster has copied it.
pub struct ClusterStore {
    servers: Arc<Servers>,
}

impl ClusterStore {
    /// The store on the cluster that has the servers at these URLs, `redis://` or `rediss://`, with the
    /// default timeouts. The first use connects, and asks one of them for the others. Credentials and TLS are
    /// those of the first URL.
    ///
    /// # Errors
    /// [`LockError::Config`] for a URL that is not understood, and if there is none.
    pub fn open<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self, LockError> {
        let seeds = urls.into_iter().map(|url| Endpoint::from_url(url, &Login::default()));
        Self::at(seeds.collect::<Result<_, _>>()?, None, Settings::default())
    }

    /// The store on the cluster that has these servers, for keys of this namespace if it is known.
    ///
    /// # Errors
    /// [`LockError::Config`] for a timeout of zero, and if there is no server.
    pub(crate) fn at(
        seeds: Vec<Endpoint>,
        namespace: Option<&str>,
        settings: Settings,
    ) -> Result<Self, LockError> {
        settings.check().map_err(config)?;
        if seeds.is_empty() {
            return Err(config("a cluster needs the address of one of its servers at the least".to_owned()));
        }
        let servers = Arc::new(Servers::new(seeds, namespace, settings));
        let weak = Arc::downgrade(&servers);
        servers.set_release_elsewhere(Arc::new(move |key, owner| release_unwanted(&weak, &key, &owner)));
        Ok(Self { servers })
    }

    /// Connects, which shows whether a server answers, whether it belongs to a cluster, and whether the
    /// primaries that answer are fit for locks.
    pub(crate) async fn probe(&self) -> Result<(), StoreError> {
        self.servers.refresh(None).await?;
        let nodes = self.servers.slots.nodes();
        let probes = nodes.iter().map(|node| async {
            let probed = timeout(PROBE_PATIENCE, node.probe()).await;
            probed.unwrap_or_else(|_| Err(StoreError::timed_out().at(node.store.address())))
        });
        let (mut any_answers, mut failure) = (false, None);
        for probe in join_all(probes).await {
            match probe {
                Ok(()) => any_answers = true,
                Err(error) if error.kind() == StoreErrorKind::Unfit => return Err(error),
                Err(error) => failure = Some(error),
            }
        }
        failure.filter(|_| !any_answers).map_or(Ok(()), Err)
    }

    fn of(&self, key: &Key, owner: &OwnerToken) -> KeyAtCluster {
        KeyAtCluster::new(&self.servers, key, owner)
    }

    /// The server at which the owner waits, in the current runtime.
    fn waits_at(&self, owner: &OwnerToken) -> Option<Arc<Node>> {
        self.servers.slots.find(|node| node.has_waiter(owner))
    }

    fn begin_release(&self, key: &Key, owner: &OwnerToken, next: Option<NextWaiter>) -> StoreFuture<bool> {
        let at = self.servers.slots.nodes();
        for node in &at {
            node.release_sent(owner);
        }
        Box::pin(self.of(key, owner).release(next, at))
    }
}

/// Releases a key that was handed over too late, wherever it is now.
fn release_unwanted(servers: &Weak<Servers>, key: &Key, owner: &OwnerToken) {
    if let Some(servers) = servers.upgrade() {
        seam::spawn_here(KeyAtCluster::new(&servers, key, owner).release(None, Vec::new()));
    }
}

impl Store for ClusterStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        Box::pin(self.of(key, owner).acquire(ttl, fenced))
    }

    fn acquire_proposed(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        proposal: FencingToken,
    ) -> StoreFuture<Acquired> {
        Box::pin(self.of(key, owner).acquire_proposed(ttl, proposal))
    }

    fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
        Box::pin(self.of(key, owner).raise_fence(fence))
    }

    fn take_again(
        &self,
        key: &Key,
        owner: &OwnerToken,
        rest_of_ttl: Duration,
        fence: Option<FencingToken>,
    ) -> StoreFuture<bool> {
        Box::pin(self.of(key, owner).take_again(rest_of_ttl, fence))
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        Box::pin(self.of(key, owner).renew(ttl))
    }

    fn confirm_hand_over(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        Box::pin(self.of(key, owner).confirm_hand_over(ttl))
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.begin_release(key, owner, None)
    }

    fn release_and_hand_over(&self, key: &Key, owner: &OwnerToken, next: NextWaiter) -> StoreFuture<bool> {
        self.begin_release(key, owner, Some(next))
    }

    fn register_waiter(&self, key: &Key, owner: &OwnerToken) -> bool {
        let slots = &self.servers.slots;
        let slot = slot_of(key);
        !slots.is_moving(slot, Instant::now)
            && slots.node_of(slot).is_some_and(|node| node.store.register_waiter(key, owner))
    }

    fn acquire_or_enqueue(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
        enqueue: Enqueue,
    ) -> StoreFuture<Acquired> {
        Box::pin(self.of(key, owner).acquire_or_enqueue(ttl, fenced, enqueue))
    }

    fn is_queued(&self, owner: &OwnerToken) -> bool {
        self.waits_at(owner).is_some()
    }

    fn hint(&self, key: &Key, owner: &OwnerToken) -> HintFuture {
        let Some(node) = self.waits_at(owner) else { return Box::pin(pending()) };
        let (hint, moved) =
            (node.store.hint(key, owner), until_moved(Arc::clone(&self.servers), node, slot_of(key)));
        Box::pin(async move {
            tokio::select! {
                biased;
                hint = hint => hint,
                () = moved => Hint::MayBeFree,
            }
        })
    }

    fn wait_for_change(&self, key: &Key) -> HintFuture {
        let slot = slot_of(key);
        let Some(node) = self.servers.slots.node_of(slot) else { return Box::pin(pending()) };
        let (change, moved) =
            (node.store.wait_for_change(key), until_moved(Arc::clone(&self.servers), node, slot));
        Box::pin(async move {
            tokio::select! {
                biased;
                change = change => change,
                () = moved => Hint::MayBeFree,
            }
        })
    }

    fn diagnose(&self) -> DiagnosisFuture {
        let servers = Arc::clone(&self.servers);
        Box::pin(async move {
            let asked = servers.refresh(None).await;
            let nodes = servers.slots.nodes();
            let diagnoses = join_all(nodes.iter().map(|node| node.store.diagnose())).await;
            let mut diagnosis = Diagnosis::new(diagnoses.into_iter().flat_map(|one| one.servers).collect());
            if let Err(error) = asked {
                diagnosis.servers.extend(servers.without_map(&error));
            }
            diagnosis
        })
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        // Nothing is done in the name of the owner.
        Box::pin(self.of(key, &OwnerToken::random()).inspect())
    }

    fn list(&self, namespace: &str, prefix: &str) -> HolderPages {
        listing::list(&self.servers, namespace, prefix)
    }

    fn break_lock(&self, key: &Key, holder: HolderId) -> StoreFuture<bool> {
        Box::pin(self.of(key, &OwnerToken::random()).break_lock(holder))
    }

    fn draws_fences_at_its_clock(&self) -> bool {
        // Each primary has a clock of its own.
        false
    }
}

/// Ends when the slot has another server than this one, or it is time to ask because the slot is moving.
async fn until_moved(servers: Arc<Servers>, node: Arc<Node>, slot: u16) {
    let mut changes = servers.slots.subscribe();
    let has_moved = || servers.slots.node_of(slot).is_some_and(|owner| !Arc::ptr_eq(&owner, &node));
    let poll_after = POLL_EVERY.mul_f64(0.5 + seam::fraction());
    // The waiter has just asked, and the slot's server did not answer.
    if has_moved() {
        return sleep(poll_after).await;
    }
    loop {
        if has_moved() {
            return;
        }
        if servers.slots.is_moving(slot, Instant::now) {
            return sleep(poll_after).await;
        }
        if changes.changed().await.is_err() {
            return pending().await;
        }
    }
}

fn config(reason: String) -> LockError {
    LockError::Config { key: String::new(), reason }
}
