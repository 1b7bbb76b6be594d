//! One of a quorum's stores, and whether it is worth asking.

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
    store::Store,
    token::OwnerToken,
};

/// A key that nobody locks, for the question whether a node answers.
pub(super) const PROBE: &str = "distlock-probe";

pub(super) struct Node {
    pub(super) name: String,
    pub(super) store: Box<dyn Store>,
    /// It did not answer when it was last fan_out, and is being fan_out in the background whether it does.
    is_down: AtomicBool,
    /// Why it is down.
    down_reason: Mutex<Option<StoreError>>,
}

impl Node {
    pub(super) fn new(name: String, store: Box<dyn Store>) -> Arc<Self> {
        Arc::new(Self { name, store, is_down: AtomicBool::new(false), down_reason: Mutex::default() })
    }

    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// What stands for the answer of a node that is down.
    pub(super) fn left_out(&self) -> StoreError {
        let down_reason = self.down_reason().clone();
        down_reason.unwrap_or_else(|| StoreError::new(StoreErrorKind::Unreachable, "it did not answer"))
    }

    /// Notes a failure, which may be that nobody is there.
    pub(super) fn failed(self: &Arc<Self>, error: &StoreError) {
        if means_down(error) {
            self.goes_down(error);
        }
    }

    /// Leaves the node out until it answers again: a node that hangs is to cost nobody anything but those who found it so.
    fn goes_down(self: &Arc<Self>, error: &StoreError) {
        *self.down_reason() = Some(error.clone());
        if !self.is_down.swap(true, Ordering::Relaxed) {
            tracing::warn!(node = self.name, %error, "a node of the quorum does not answer and is left out");
            let probe = Probe(Arc::downgrade(self));
            tokio::spawn(async move { probe.run().await });
        }
    }

    fn down_reason(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.down_reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases a key that has to be released, again and again until the node has confirmed it or its ttl is over. An acquire that is
    /// `unsettled` may yet execute, so that "not the owner" today says nothing about tomorrow.
    pub(super) async fn release_until_confirmed(
        &self,
        key: Key,
        owner: OwnerToken,
        until: Instant,
        unsettled: bool,
    ) {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            if !self.is_down() {
                match self.store.release(&key, &owner).await {
                    Ok(true) => return,
                    Ok(false) if !unsettled => return,
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
}

/// Whether an error means that nobody is there.
fn means_down(error: &StoreError) -> bool {
    use StoreErrorKind::{Disconnected, TimedOut, Unreachable};
    matches!(error.kind(), Unreachable | Disconnected | TimedOut)
}

/// Asks a node that is down whether it answers again. When its runtime ends before it does, the node is fan_out by whoever comes next.
struct Probe(Weak<Node>);

impl Probe {
    async fn run(&self) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            sleep(backoff.next_delay()).await;
            let Some(node) = self.0.upgrade() else { return };
            let answer = node.store.inspect(&Key::stored("", PROBE)).await;
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
