//! One of a quorum's nodes: its store, and whether it answers.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    backoff::Backoff,
    error::{StoreError, StoreErrorKind},
    key::Key,
    store::contract::Store,
    token::OwnerToken,
};

/// A key that is never locked. Inspecting it shows whether a node answers.
pub(super) const PROBE_KEY: &str = "distlock-probe";

/// All nodes of a quorum, in the order in which they were configured. A node's index here names it
/// everywhere.
pub(super) type Nodes = Arc<[Arc<Node>]>;

/// One of a quorum's nodes.
pub(super) struct Node {
    /// The name in messages.
    pub(super) name: String,
    pub(super) store: Box<dyn Store>,
    /// Set by the call that finds the node down, cleared by the probe that it starts.
    is_down: AtomicBool,
    /// Why the node was last found down. Set before `is_down`, and never cleared.
    down_reason: Mutex<Option<StoreError>>,
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

impl Node {
    pub(super) fn new(name: String, store: Box<dyn Store>) -> Self {
        Self { name, store, is_down: AtomicBool::new(false), down_reason: Mutex::default() }
    }

    /// Whether commands skip the node, because it did not answer and no probe has got an answer since.
    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// The error that counts as the answer of a node that is skipped.
    pub(super) fn down_error(&self) -> StoreError {
        let reason = self.down_reason().clone();
        reason.unwrap_or_else(|| StoreError::new(StoreErrorKind::Unreachable, "it did not answer"))
    }

    /// Marks the node as down if the error means that it does not answer.
    ///
    /// Commands then skip the node until a background probe gets an answer, so only the calls that discover
    /// the outage pay a timeout.
    pub(super) fn note_error(self: &Arc<Self>, error: &StoreError) {
        if !means_down(error) {
            return;
        }
        *self.down_reason() = Some(error.clone());
        if !self.is_down.swap(true, Ordering::Relaxed) {
            tracing::warn!(node = self.name, %error, "a node of the quorum does not answer; skipping it");
            let probe = Probe(Arc::downgrade(self));
            tokio::spawn(async move { probe.wait_for_answer().await });
        }
    }

    /// Releases a key again and again, as `again` says, at most until `until`.
    pub(super) async fn release_again(
        &self,
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

    fn down_reason(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.down_reason.lock().unwrap_or_else(PoisonError::into_inner)
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
/// own.
struct Probe(Weak<Node>);

impl Probe {
    async fn wait_for_answer(&self) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            sleep(backoff.next_delay()).await;
            let Some(node) = self.0.upgrade() else { return };
            let answer = node.store.inspect(&Key::stored("", PROBE_KEY)).await;
            if !answer.is_err_and(|error| means_down(&error)) {
                return;
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(node) = self.0.upgrade() {
            node.is_down.store(false, Ordering::Relaxed);
        }
    }
}
