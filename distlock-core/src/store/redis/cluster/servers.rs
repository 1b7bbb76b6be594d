//! The servers of a cluster: the slot map, and how it is brought up to date.
//!
//! The map is asked for anew when a server says that a slot has moved, and when a server cannot be reached.
//! The tasks of one runtime share one question. Runtimes do not wait for each other's.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, sleep, timeout},
};

use super::{
    super::{
        RedisStore,
        connect::endpoint::Endpoint,
        settings::{Role, Settings},
    },
    node::Node,
    slots::SlotMap,
    topology,
};
use crate::{
    error::{LockError, StoreError, StoreErrorKind},
    key::Key,
    runtime::PerRuntime,
    seam,
    store::diagnosis::{Check, CheckState, CheckSubject, ServerDiagnosis},
    token::OwnerToken,
};

/// An answer that came this short a time ago is as good as another one.
const FRESH: Duration = Duration::from_millis(50);
/// How often the map is asked for while a server cannot be reached, and for how long.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_FOR: Duration = Duration::from_secs(20);

/// Releases a key that was handed over too late.
pub(super) type ReleaseElsewhere = Arc<dyn Fn(Key, OwnerToken) + Send + Sync>;

/// The servers of a cluster.
pub(super) struct Servers {
    pub(super) slots: SlotMap,
    /// The servers that the caller named. At least one.
    seeds: Vec<Endpoint>,
    namespace: Option<String>,
    settings: Settings,
    questions: Arc<PerRuntime<Arc<Question>>>,
    release_elsewhere: OnceLock<ReleaseElsewhere>,
}

/// How one runtime brings the map up to date.
#[derive(Default)]
struct Question {
    /// When the latest question was answered. Held while one is asked.
    answered: AsyncMutex<Option<Instant>>,
    /// The addresses of the servers that a task waits for. Set and cleared by that task.
    watched: Mutex<HashSet<String>>,
}

impl Servers {
    pub(super) fn new(seeds: Vec<Endpoint>, namespace: Option<&str>, settings: Settings) -> Self {
        let (slots, questions, release_elsewhere) = (SlotMap::new(), Arc::default(), OnceLock::new());
        Self { slots, seeds, namespace: namespace.map(str::to_owned), settings, questions, release_elsewhere }
    }

    /// Sets how a hand-over is released that came too late. Called before the first server is made.
    pub(super) fn set_release_elsewhere(&self, release: ReleaseElsewhere) {
        let _ = self.release_elsewhere.set(release);
    }

    /// The longest that a command is sent again for.
    pub(super) fn response_timeout(&self) -> Duration {
        self.settings.response_timeout
    }

    /// The server at an address of a redirect, `host:port`. A host that is not said is that of the server
    /// that has answered.
    pub(super) fn node_at(&self, address: &str, answered: &Node, slot: u16) -> Option<Arc<Node>> {
        let (host, port) = address.rsplit_once(':')?;
        let (host, port) = (if host.is_empty() { &answered.host } else { host }, port.parse().ok()?);
        if let Some(known) = self.slots.find(|node| node.host == *host && node.port == port) {
            return Some(known);
        }
        self.make_node(host, port, slot).ok()
    }

    fn make_node(&self, host: &str, port: u16, slot: u16) -> Result<Arc<Node>, LockError> {
        let endpoint = self.seeds[0].of_node(host, port)?;
        let settings = Settings { role: Role::ClusterNode { slot }, ..self.settings };
        let store = RedisStore::at(endpoint, self.namespace.as_deref(), settings)?;
        let node = Node { store, host: host.to_owned(), port };
        if let Some(release) = self.release_elsewhere.get() {
            node.release_elsewhere(Arc::clone(release));
        }
        Ok(Arc::new(node))
    }

    /// Asks for the map, unless the answer to another task's question comes first or came just now. A server
    /// that is suspected to be down is asked last.
    pub(super) async fn refresh(&self, suspect: Option<&Node>) -> Result<(), StoreError> {
        let question = self.question()?;
        let asked_at = Instant::now();
        let patience = self.settings.connect_timeout + self.settings.response_timeout;
        let asked = timeout(patience, async {
            let mut answered = question.answered.lock().await;
            if answered.is_some_and(|at| at + FRESH > asked_at) {
                return Ok(());
            }
            let ranges = topology::ask_one_of(self.candidates(suspect), &self.settings).await?;
            let make = |host: &str, port, slot| self.make_node(host, port, slot);
            self.slots
                .replace(&ranges, make)
                .map_err(|error| StoreError::new(StoreErrorKind::Unavailable, error.to_string()))?;
            *answered = Some(Instant::now());
            Ok(())
        });
        asked.await.unwrap_or_else(|_| Err(StoreError::timed_out().before_sending()))
    }

    /// The servers that may tell the map: in random order the known ones, then those that the caller named.
    fn candidates(&self, suspect: Option<&Node>) -> Vec<Endpoint> {
        let mut known = self.slots.servers();
        seam::shuffle(&mut known);
        let is_suspect =
            |host: &str, port| suspect.is_some_and(|node| node.host == host && node.port == port);
        known.sort_by_key(|(host, port)| is_suspect(host, *port));
        let known = known.iter().filter_map(|(host, port)| self.seeds[0].of_node(host, *port).ok());
        known.chain(self.seeds.iter().cloned()).collect()
    }

    /// What is known if no server tells the map.
    pub(super) fn without_map(&self, error: &StoreError) -> Vec<ServerDiagnosis> {
        let unknown = |seed: &Endpoint| {
            let mut diagnosis = ServerDiagnosis::new(&seed.address);
            let is_unfit = error.kind() == StoreErrorKind::Unfit;
            let subject = if is_unfit { CheckSubject::Kind } else { CheckSubject::Reachable };
            let check = Check::new(subject, CheckState::Broken, error.to_string());
            diagnosis.checks.push(check);
            diagnosis
        };
        self.seeds.iter().map(unknown).collect()
    }

    fn question(&self) -> Result<Arc<Question>, StoreError> {
        self.questions.get_or_make(|| Ok(Arc::default()))
    }
}

/// Asks for the map in the background: a slot has moved, and others may have moved with it.
pub(super) fn refresh_soon(servers: &Arc<Servers>) {
    let servers = Arc::clone(servers);
    seam::spawn_here(async move {
        // Each slot whose entry is out of date says so again.
        let _ = servers.refresh(None).await;
    });
}

/// Asks for the map again and again while the server cannot be reached and has slots, so that waiters of
/// its keys hear of a failover when it happens.
pub(super) fn look_for_failover(servers: &Arc<Servers>, node: &Arc<Node>) {
    let Ok(question) = servers.question() else { return };
    let address = node.store.address().to_owned();
    if !question.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(address.clone()) {
        return;
    }
    let (servers, node) = (Arc::downgrade(servers), Arc::downgrade(node));
    seam::spawn_here(async move {
        let _ = timeout(LOOK_FOR, until_reachable_or_replaced(servers, node)).await;
        question.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    });
}

async fn until_reachable_or_replaced(servers: Weak<Servers>, node: Weak<Node>) {
    loop {
        sleep(LOOK_EVERY.mul_f64(0.5 + seam::fraction())).await;
        let (Some(servers), Some(node)) = (servers.upgrade(), node.upgrade()) else { return };
        let _ = servers.refresh(Some(&node)).await;
        let has_slots = servers.slots.nodes().iter().any(|known| Arc::ptr_eq(known, &node));
        if !has_slots || node.probe().await.is_ok() {
            return;
        }
    }
}
