//! One of a quorum's nodes: its store, and whether it answers.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

use crate::{
    backoff::Backoff,
    error::{StoreError, StoreErrorKind},
    events,
    key::Key,
    runtime::PerRuntime,
    seam,
    store::contract::Store,
    token::OwnerToken,
};

/// A key that is never locked. Inspecting it shows whether a node answers.
pub(super) const PROBE_KEY: &str = "distlock-probe";

/// How many commands of one runtime a node may leave unanswered. Beyond that, new commands skip the node, so
/// that a node that hangs costs a bounded amount of memory however long its response timeout is.
const MOST_UNANSWERED: usize = 1024;

/// How often a probe shows that its runtime runs.
const PROBE_BEAT: Duration = Duration::from_millis(500);
/// After this long without such a sign, the next call of any runtime starts another probe.
const PROBE_SILENCE: Duration = Duration::from_secs(2);

/// All nodes of a quorum, in the order in which they were configured. A node's index here names it
/// everywhere.
#[derive(Clone)]
pub(super) struct Nodes {
    all: Arc<[Arc<Node>]>,
    /// How many commands of each runtime each node has not answered. Not for all runtimes together: one that
    /// stands still reads no answers, which must not look as if the node did not give any.
    unanswered: Arc<PerRuntime<UnansweredCounts>>,
}

/// How many commands of one runtime each node has not answered.
pub(super) type UnansweredCounts = Arc<[AtomicUsize]>;

/// One command that a node has not answered. Its drop counts the command down.
pub(super) struct Unanswered {
    counts: UnansweredCounts,
    node: usize,
}

/// One of a quorum's nodes.
pub(super) struct Node {
    /// The name in messages.
    pub(super) name: String,
    pub(super) store: Box<dyn Store>,
    /// Set by the call that finds the node down, cleared by the probe that gets an answer.
    is_down: AtomicBool,
    outage: Mutex<Outage>,
}

/// The latest outage of a node.
#[derive(Default)]
struct Outage {
    /// Why the node was last found down. Set before `is_down`, and never cleared.
    reason: Option<StoreError>,
    /// The number of the probe that may mark the node as up. Raised by each start of a probe.
    probe: u64,
    /// When that probe last showed that its runtime runs.
    probe_seen: Option<Instant>,
}

/// Whether a node's key is released in the background, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReleaseAgain {
    No,
    /// Until the node answers, be it that the key is not the owner's.
    UntilAnswered,
    /// Until the node has released the key. An acquire in doubt may still execute, so "not the owner" may be
    /// true for now only.
    UntilConfirmed,
}

impl Nodes {
    pub(super) fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        Self { all: nodes.into_iter().map(Arc::new).collect(), unanswered: Arc::default() }
    }

    /// The counts of the current runtime.
    pub(super) fn unanswered(&self) -> UnansweredCounts {
        let none = || self.all.iter().map(|_| AtomicUsize::new(0)).collect();
        // Outside of a runtime nothing can be sent.
        self.unanswered.get_or_make(|| Ok(none())).unwrap_or_else(|_| none())
    }
}

impl Deref for Nodes {
    type Target = [Arc<Node>];

    fn deref(&self) -> &[Arc<Node>] {
        &self.all
    }
}

impl Unanswered {
    /// Counts a command that is about to be sent to the node.
    pub(super) fn new(counts: &UnansweredCounts, node: usize) -> Self {
        counts[node].fetch_add(1, Ordering::Relaxed);
        Self { counts: Arc::clone(counts), node }
    }

    /// The error of a new command to a node that has left too many unanswered.
    pub(super) fn check(counts: &UnansweredCounts, node: usize) -> Result<(), StoreError> {
        if counts[node].load(Ordering::Relaxed) < MOST_UNANSWERED {
            return Ok(());
        }
        let detail = format!("it has not answered {MOST_UNANSWERED} commands yet");
        Err(StoreError::new(StoreErrorKind::Unavailable, detail))
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.counts[self.node].fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    pub(super) fn new(name: String, store: Box<dyn Store>) -> Self {
        Self { name, store, is_down: AtomicBool::new(false), outage: Mutex::default() }
    }

    /// Whether commands skip the node, because it did not answer and no probe has got an answer since.
    pub(super) fn is_down(self: &Arc<Self>) -> bool {
        let is_down = self.is_down.load(Ordering::Relaxed);
        if is_down {
            self.ensure_probe();
        }
        is_down
    }

    /// The error that counts as the answer of a node that is skipped.
    pub(super) fn down_error(&self) -> StoreError {
        let reason = self.outage().reason.clone();
        reason.unwrap_or_else(|| StoreError::new(StoreErrorKind::Unreachable, "it did not answer"))
    }

    /// Marks the node as down if the error means that it does not answer.
    pub(super) fn note_error(self: &Arc<Self>, error: &StoreError) {
        if means_down(error) {
            self.mark_down(error.clone());
        }
    }

    /// Marks the node as down because it leaves a command unanswered for this long, while the other nodes
    /// have answered long ago.
    pub(super) fn note_silence(self: &Arc<Self>, silence: Duration) {
        if !self.is_down.load(Ordering::Relaxed) {
            let detail = format!("it has not answered for {silence:.0?}");
            self.mark_down(StoreError::new(StoreErrorKind::Unreachable, detail));
        }
    }

    /// Commands then skip the node until a background probe gets an answer, so only the calls that discover
    /// the outage pay a timeout.
    fn mark_down(self: &Arc<Self>, error: StoreError) {
        if !self.is_down.swap(true, Ordering::Relaxed) {
            events::node_down(&self.name, &error);
        }
        self.outage().reason = Some(error);
        self.ensure_probe();
    }

    /// Starts a probe unless one is running. A probe on a runtime that stands still is replaced.
    fn ensure_probe(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut outage = self.outage();
        if outage.probe_seen.is_some_and(|seen| seen.elapsed() < PROBE_SILENCE) {
            return;
        }
        outage.probe += 1;
        outage.probe_seen = Some(Instant::now());
        let probe = Probe { node: Arc::downgrade(self), number: outage.probe };
        drop(outage);
        seam::spawn(&runtime, async move { probe.wait_for_answer().await });
    }

    /// Releases a key again and again, as `again` says, at most until `until`.
    pub(super) async fn release_again(
        self: Arc<Self>,
        key: Key,
        owner: OwnerToken,
        again: ReleaseAgain,
        until: Instant,
    ) {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            if !self.is_down() {
                match self.store.release(&key, &owner).await {
                    Ok(true) => return,
                    Ok(false) if again == ReleaseAgain::UntilAnswered => return,
                    Err(error) if !error.is_transient() => return,
                    _ => {}
                }
            }
            let delay = backoff.next_delay();
            if Instant::now() + delay >= until {
                return;
            }
            sleep(delay).await;
        }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error means that the node does not answer.
fn means_down(error: &StoreError) -> bool {
    use StoreErrorKind::{Disconnected, TimedOut, Unreachable};
    matches!(error.kind(), Unreachable | Disconnected | TimedOut)
}

/// Inspects a node that is down until it answers. Its drop marks the node as up.
///
/// A runtime that ends drops its probes too. The next call then tries the node, and starts a probe of its
/// own. A runtime that stands still shows it by silence, and the next call of another runtime starts a probe
/// there. From then on this one counts for nothing.
struct Probe {
    node: Weak<Node>,
    number: u64,
}

impl Probe {
    async fn wait_for_answer(&self) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            if self.while_in_charge(sleep(backoff.next_delay())).await.is_none() {
                return;
            }
            let Some(node) = self.node.upgrade() else { return };
            let inspect = node.store.inspect(&Key::stored("", PROBE_KEY));
            match self.while_in_charge(inspect).await {
                Some(Err(error)) if means_down(&error) => {}
                Some(_) => return events::node_up(&node.name),
                None => return,
            }
        }
    }

    /// Waits for a future, and shows all the while that the runtime runs; `None` if another probe is in
    /// charge.
    async fn while_in_charge<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        loop {
            let output = timeout(PROBE_BEAT, future.as_mut()).await;
            let node = self.node.upgrade()?;
            let mut outage = node.outage();
            if outage.probe != self.number {
                return None;
            }
            outage.probe_seen = Some(Instant::now());
            if let Ok(output) = output {
                return Some(output);
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let Some(node) = self.node.upgrade() else { return };
        let mut outage = node.outage();
        if outage.probe == self.number {
            outage.probe_seen = None;
            node.is_down.store(false, Ordering::Relaxed);
        }
    }
}
