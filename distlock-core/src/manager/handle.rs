//! The handle: what every lock of a program goes through.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{
    future,
    stream::{self, StreamExt},
};
use tokio::{
    runtime::Handle,
    time::{timeout, timeout_at},
};

use crate::{
    clock::Moment,
    error::{LockError, StoreError},
    keeper::{Keeper, Keepers},
    key::Key,
    lease::Lease,
    shared::{Phase, Shared},
    store::{Diagnosis, Store},
    token::Label,
    wait_queue::WaitQueues,
};

/// Makes locks on one store. A clone is the same manager; a program needs one.
///
/// A manager works on every tokio runtime, multi-thread or current-thread, even on another one than it was
/// made on. Each runtime that uses it gets a connection and a keeper task of its own, on first use. They end
/// when the last clone is dropped and no guard is left.
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// # async fn example() -> Result<(), distlock::LockError> {
/// let manager = distlock::LockManager::in_memory();
/// let guard = manager.lock("order:42").acquire().await?;
/// assert!(manager.lock("order:42").try_acquire().await?.is_none());
/// guard.release().await?;
/// # Ok(()) }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct LockManager {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    keepers: Arc<Keepers>,
    namespace: String,
    ttl: Duration,
    /// How long a shutdown waits for the releases of other runtimes: as long as a server has to answer.
    response_timeout: Duration,
    /// The longest ttl, if the nodes of a quorum grant nothing for this long after their start.
    restart_delay: Option<Duration>,
    /// Runs the acquires of callers that block their thread; `None` for the background thread of this crate.
    runtime: Option<Handle>,
}

/// How many releases of a shutdown are in flight at a time: enough to fill a connection's pipeline.
const RELEASES_AT_ONCE: usize = 512;

impl LockManager {
    /// A manager over a store, with settings that were checked before.
    pub(super) fn over(
        store: Box<dyn Store>,
        namespace: String,
        ttl: Duration,
        response_timeout: Duration,
        restart_delay: Option<Duration>,
        runtime: Option<Handle>,
        owner: Option<Label>,
    ) -> Self {
        let (shared, keepers) = (Arc::new(Shared::new(store, owner)), Arc::default());
        let runtime = runtime.or_else(|| Handle::try_current().ok());
        Self {
            inner: Arc::new(Inner {
                shared,
                keepers,
                namespace,
                ttl,
                response_timeout,
                restart_delay,
                runtime,
            }),
        }
    }

    /// How many leases this manager could not release, so that their ttl has ended or will end them. Each was
    /// logged.
    pub fn failed_releases(&self) -> u64 {
        self.shared().failed_releases()
    }

    /// Asks each server of the store whether it is fit for locks, and changes nothing: for a command such as
    /// `doctor`, and for a health check.
    ///
    /// It reports what [`connect`](Self::connect) refuses or warns of, what is as it should be, and how the
    /// servers' clocks differ. A server that does not answer, and a question that it does not answer, are
    /// findings. A store of your own reports what its [`diagnose`](crate::Store::diagnose) does.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    ///
    /// # Examples
    /// ```no_run
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// use distlock::{CheckState, LockManager};
    ///
    /// let manager = LockManager::builder().url("redis://127.0.0.1/").build()?;
    /// let diagnosis = manager.diagnose().await;
    /// print!("{diagnosis}");
    /// if diagnosis.worst() == Some(CheckState::Broken) {
    ///     std::process::exit(1);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn diagnose(&self) -> Diagnosis {
        self.shared().store.diagnose().await
    }

    /// Releases everything that this manager and its clones hold, and refuses every call from now on.
    ///
    /// Running bodies are told that their lease is lost, and are dropped at their next await. Each key is
    /// released when its body has ended, or left to its ttl if the body does not end before its lease does.
    /// Guards stay usable, and say that they are lost. Every later call ends with [`LockError::Store`] of
    /// kind [`ShutDown`](crate::StoreErrorKind::ShutDown). The call returns when the store has confirmed the
    /// releases, or their ttl is over. For the clean-ups of other runtimes it waits at most the
    /// [`response_timeout`](crate::LockManagerBuilder::response_timeout) more, which is 1 s unless set.
    ///
    /// # Cancel safety
    /// If the future is dropped, later calls are refused all the same. A lease that was not released yet ends
    /// when its guard is dropped, or with its ttl.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let guard = manager.lock("order:42").acquire().await?;
    /// manager.shutdown().await;
    /// assert!(!guard.is_held());
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub async fn shutdown(&self) {
        let shared = self.shared();
        let keepers = self.refuse_calls(Phase::ShutDown);
        let leases: Vec<_> = keepers.iter().flat_map(Keeper::give_up_all).collect();
        // No waiter is to be handed a key any more.
        let nobody = &WaitQueues::default();
        let release = |lease: Arc<Lease>| async move {
            if timeout_at(lease.deadline(), lease.wait_until_empty()).await.is_ok() {
                shared.release_until_confirmed(lease.pending_release(Moment::now()), nobody).await;
                lease.released.store(true, Ordering::Release);
            }
        };
        stream::iter(leases).for_each_concurrent(RELEASES_AT_ONCE, release).await;
        if let Ok(keeper) = self.keeper() {
            keeper.wait_until_idle().await;
        }
        // Another runtime may stand still.
        let others = future::join_all(keepers.iter().map(Keeper::wait_until_idle));
        let _ = timeout(self.inner.response_timeout, others).await;
    }

    /// Refuses new calls, lets running bodies finish for at most `patience`, and then [shuts
    /// down](Self::shutdown).
    ///
    /// Later calls, and calls that wait for a key, end at once with [`LockError::Store`] of kind
    /// [`ShutDown`](crate::StoreErrorKind::ShutDown). Calls from inside of a locked body are let through,
    /// because the body may need them to finish. Leases are renewed meanwhile. The call returns as soon as no
    /// guard is left, and a guard that is not inside of a body counts like a body.
    ///
    /// # Cancel safety
    /// If the future is dropped, new calls are refused all the same, and running bodies go on.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let work = tokio::spawn(manager.lock("order:42").run(async { "done" }));
    /// # tokio::task::yield_now().await;
    /// // On SIGTERM, after the server has stopped to accept requests:
    /// manager.drain(Duration::from_secs(20)).await;
    /// assert_eq!(work.await.unwrap()?, "done");
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub async fn drain(&self, patience: Duration) {
        self.refuse_calls(Phase::Draining);
        // Bodies that take longer are told by the shutdown.
        let _ = timeout(patience, self.shared().wait_for_guards()).await;
        self.shutdown().await;
    }

    /// Refuses calls from now on, also those that wait. Gives back the keepers of all runtimes.
    fn refuse_calls(&self, phase: Phase) -> Vec<Keeper> {
        self.shared().enter(phase);
        let keepers = self.inner.keepers.all();
        for keeper in &keepers {
            keeper.wait_queues().wake_all();
        }
        keepers
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.inner.ttl
    }

    /// The runtime for callers that block their thread.
    pub(crate) fn runtime(&self) -> Option<&Handle> {
        self.inner.runtime.as_ref()
    }

    pub(crate) fn restart_delay(&self) -> Option<Duration> {
        self.inner.restart_delay
    }

    pub(super) fn namespace(&self) -> &str {
        &self.inner.namespace
    }

    pub(crate) fn key(&self, name: &str) -> Result<Key, LockError> {
        Key::new(&self.inner.namespace, name)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn keeper(&self) -> Result<Keeper, StoreError> {
        Keeper::of_this_runtime(&self.inner.shared, &self.inner.keepers)
    }
}

impl fmt::Debug for LockManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockManager")
            .field("namespace", &self.inner.namespace)
            .field("ttl", &self.inner.ttl)
            .finish_non_exhaustive()
    }
}
