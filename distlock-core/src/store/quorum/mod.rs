//! Leases on a majority of independent stores: Redlock, with fencing tokens that rise across the quorum.
//!
//! Each operation goes to all nodes at once, and is decided as soon as a majority has answered either way. In
//! reading order:
//!
//! - [`holders`] says who holds a key, lists the holders, and breaks a lock.
//! - [`operations`] are acquire, renew and release over all nodes.
//! - [`heal`] has nodes take a lease again that they have lost.
//! - [`fan_out`] sends one command to several nodes and collects their answers.
//! - [`unfinished`] sees to the answers that come too late for a decision, so that no grant is forgotten.
//! - [`attempt`] has the state of one acquire and its release, node by node.
//! - [`tally`] counts answers. [`node`] is one store, and whether it answers. [`node_set`] is a set of nodes.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::future::{join_all, select_all};
use tokio::time::sleep;

use super::{
    contract::{Acquired, DiagnosisFuture, Store, StoreFuture},
    diagnosis::{Diagnosis, ServerDiagnosis},
    hand_over::HintFuture,
    listing::HolderPages,
};
#[cfg(feature = "redis")]
use crate::error::StoreError;
use crate::{
    clock::WallClock,
    error::LockError,
    holder::{Holder, HolderId},
    key::Key,
    seam,
    token::{FencingToken, OwnerToken},
};

mod attempt;
mod fan_out;
mod heal;
mod holders;
mod node;
mod node_set;
mod operations;
mod tally;
mod unfinished;

use node::{Node, Nodes};
use node_set::MAX_NODES;
use operations::Quorum;

/// Keeps leases on a majority of independent stores, its nodes. No single node can lose a lease or delay one.
///
/// The majority is of the nodes configured, N/2 + 1 of N, so that two majorities always have a node in
/// common. Take three or five nodes that fail independently and do not replicate to each other. An even
/// number survives no more failures than the odd number below it.
///
/// A lease excludes others as long as, at any time, no more than a minority of the nodes has lost its data
/// within the last ttl, and all clocks run at about the same speed. Fencing tokens rise from grant to grant
/// whatever happens to the leases: see the guarantees in the project's documentation.
///
/// A node that does not answer is skipped until it answers a background probe, so that only the calls that
/// discover an outage wait for the node's timeout.
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// use std::time::Duration;
///
/// use distlock::{LockManager, MemoryStore, QuorumStore, Store};
///
/// # async fn example() -> Result<(), distlock::LockError> {
/// // On servers: LockManager::connect("redlock://h1,h2,h3").
/// let nodes = ["a", "b", "c"].map(|name| (name.to_owned(), Box::new(MemoryStore::new()) as Box<dyn Store>));
/// let quorum = QuorumStore::new(nodes)?;
/// let manager = LockManager::builder().store(quorum).ttl(Duration::from_secs(10)).build()?;
/// let guard = manager.lock("order:42").acquire().await?;
/// assert!(guard.is_held());
/// # Ok(()) }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(example()).unwrap();
/// ```
pub struct QuorumStore {
    quorum: Arc<Quorum>,
}

/// The longest random delay of a waiter between the hint that a key may be free and its next acquire. Without
/// it, the waiters of several processes would divide the nodes among them.
const MAX_HINT_DELAY: Duration = Duration::from_millis(2);

impl QuorumStore {
    /// Makes a quorum of these nodes, 1 to 64, each with its name in messages, which must not contain
    /// secrets.
    ///
    /// # Errors
    /// [`LockError::Config`] if there is no node, or there are more than 64.
    pub fn new(nodes: impl IntoIterator<Item = (String, Box<dyn Store>)>) -> Result<Self, LockError> {
        Self::with_wall_clock(nodes, WallClock::default())
    }

    /// Makes a quorum with another clock for its proposals of fencing tokens, for tests of clocks that are
    /// wrong.
    #[doc(hidden)]
    pub fn with_clock(
        nodes: impl IntoIterator<Item = (String, Box<dyn Store>)>,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Result<Self, LockError> {
        Self::with_wall_clock(nodes, WallClock::of(clock))
    }

    /// Checks that a majority answers.
    #[cfg(feature = "redis")]
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.quorum.inspect(&Key::stored("", node::PROBE_KEY)).await.map(drop)
    }

    fn with_wall_clock(
        nodes: impl IntoIterator<Item = (String, Box<dyn Store>)>,
        wall_clock: WallClock,
    ) -> Result<Self, LockError> {
        let nodes = Nodes::new(nodes.into_iter().map(|(name, store)| Node::new(name, store)));
        if !(1..=MAX_NODES).contains(&nodes.len()) {
            let reason = format!(
                "a quorum of {} nodes; name 1 to {MAX_NODES}, best three or five that fail independently",
                nodes.len()
            );
            return Err(LockError::Config { key: String::new(), reason });
        }
        Ok(Self { quorum: Arc::new(Quorum::new(nodes, wall_clock)) })
    }
}

impl Store for QuorumStore {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let (quorum, key, owner) = (Arc::clone(&self.quorum), key.clone(), *owner);
        Box::pin(async move { quorum.acquire(&key, &owner, ttl, fenced).await })
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (quorum, key, owner) = (Arc::clone(&self.quorum), key.clone(), *owner);
        Box::pin(async move { quorum.renew(&key, &owner, ttl).await })
    }

    fn raise_fence(&self, key: &Key, owner: &OwnerToken, fence: FencingToken) -> StoreFuture<bool> {
        let (quorum, key, owner) = (Arc::clone(&self.quorum), key.clone(), *owner);
        Box::pin(async move { quorum.raise_fence(&key, &owner, fence).await })
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        let (quorum, key, owner) = (Arc::clone(&self.quorum), key.clone(), *owner);
        Box::pin(async move { quorum.release(&key, &owner).await })
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        let (quorum, key) = (Arc::clone(&self.quorum), key.clone());
        Box::pin(async move { quorum.inspect(&key).await })
    }

    fn list(&self, namespace: &str, prefix: &str) -> HolderPages {
        Quorum::list(Arc::clone(&self.quorum), namespace, prefix)
    }

    fn break_lock(&self, key: &Key, holder: HolderId) -> StoreFuture<bool> {
        let (quorum, key) = (Arc::clone(&self.quorum), key.clone());
        Box::pin(async move { quorum.break_lock(&key, holder).await })
    }

    fn diagnose(&self) -> DiagnosisFuture {
        let nodes = self.quorum.nodes.clone();
        Box::pin(async move {
            let diagnoses = join_all(nodes.iter().map(|node| async {
                let mut servers = node.store.diagnose().await.servers;
                // A store that cannot tell is still a node.
                if servers.is_empty() {
                    servers.push(ServerDiagnosis::new(&node.name));
                }
                servers
            }));
            Diagnosis::new(diagnoses.await.into_iter().flatten().collect())
        })
    }

    /// Ends when the key changes on the first of the nodes that hold it.
    ///
    /// A node on which the key is free at the first poll gives no hint: a waiter that believed it would
    /// divide the nodes with other contenders again and again.
    fn hint(&self, key: &Key, _owner: &OwnerToken) -> HintFuture {
        let up = self.quorum.nodes.iter().filter(|node| !node.is_down());
        let changes: Vec<_> = up.map(|node| node.store.wait_for_change(key)).collect();
        Box::pin(async move {
            if changes.is_empty() {
                return pending().await;
            }
            let (hint, ..) = select_all(changes).await;
            // The waiters of all processes are hinted at the same moment.
            sleep(MAX_HINT_DELAY.mul_f64(seam::fraction())).await;
            hint
        })
    }
}
