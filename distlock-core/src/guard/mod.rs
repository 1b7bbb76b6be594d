//! The held lock.
//!
//! - `release` is how a guard ends.
//! - [`body`] is the future around a body.
//! - [`call_chain`] refuses nested calls for one key.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tokio::{runtime::Handle, task};

use crate::{
    clock::Moment,
    error::{LockError, LostReason},
    events::{self, Gauge, Gauged},
    keeper::Keeper,
    lease::{Lease, LeaseHealth},
    token::FencingToken,
};

mod body;
pub(crate) mod call_chain;
mod release;

use body::LockedBody;

/// A held lock: a lease that its manager's keeper renews every third of its ttl, until it is released,
/// dropped or lost.
///
/// While [`is_held`](Self::is_held) answers true, no other caller is granted the key, as long as the server
/// keeps its data and this host's clock runs no more than a hundredth of the ttl and 2 ms slower than the
/// server's. The guard does **not** keep late writes of a stopped process away from a resource: a lease is
/// not a fence. Where that matters, ask for a [fencing token](Self::fencing_token) and have the resource
/// check it.
///
/// Dropping the guard releases the lock in the background, without blocking and from any thread. With
/// [`release`](Self::release) the key is free on the server when the call returns. If the runtime is gone,
/// the ttl ends the lease.
///
/// # Examples
/// ```
/// # extern crate distlock_core as distlock;
/// # async fn example() -> Result<(), distlock::LockError> {
/// let manager = distlock::LockManager::in_memory();
/// let guard = manager.lock("order:42").fenced().acquire().await?;
/// assert_eq!(guard.key(), "order:42");
/// assert!(guard.is_held() && guard.fencing_token().is_some());
/// guard.release().await?;
/// # Ok(()) }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(example()).unwrap();
/// ```
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct LockGuard {
    lease: Arc<Lease>,
    keeper: Keeper,
    _held: Gauged,
}

impl LockGuard {
    pub(crate) fn new(lease: Arc<Lease>, keeper: Keeper) -> Self {
        keeper.shared().guard_began();
        let held = Gauged::new(Gauge::LocksHeld, lease.key.template());
        Self { lease, keeper, _held: held }
    }

    /// The key as the caller wrote it, without the manager's namespace.
    pub fn key(&self) -> &str {
        self.lease.key.name()
    }

    /// The fencing token of this grant; `None` unless [`fenced`](crate::LockRequest::fenced) asked for one.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let guard = manager.lock("ledger").fenced().acquire().await?;
    /// let token = guard.fencing_token().expect("`fenced` asked for it");
    /// // With each write, so that the database refuses a write of an earlier holder:
    /// // UPDATE ledger SET fence = $1, .. WHERE id = 7 AND fence <= $1
    /// assert!(token.value() > 0);
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.lease.fence
    }

    /// What is left of the lease if no renewal follows, less the allowance for clock drift; zero if the lease
    /// is lost.
    pub fn remaining(&self) -> Duration {
        self.lease.status(Moment::now()).unwrap_or_default()
    }

    /// Whether the lease is certain to be valid, by this host's monotonic clock and by what the store has
    /// answered so far.
    ///
    /// A lease that another process handed over may be uncertain for a while: until the store has confirmed
    /// the hand-over, two seconds of it are certain.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let guard = manager.lock("import").acquire().await?;
    /// for _batch in 0..3 {
    ///     if !guard.is_held() {
    ///         break; // another holder may have begun
    ///     }
    ///     // .. import a batch ..
    /// }
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn is_held(&self) -> bool {
        self.lease.status(Moment::now()).is_ok_and(|left| !left.is_zero())
    }

    /// How near the lease was to being lost so far: what was left of it at the least, the longest pause, and
    /// the drift of the server's clock where that is known. It sends nothing.
    ///
    /// Each release logs the same at the level DEBUG.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let guard = manager.lock("import").ttl(Duration::from_secs(10)).acquire().await?;
    /// // .. the work ..
    /// let health = guard.health();
    /// if health.margin < Duration::from_secs(1) {
    ///     println!("the lock was nearly lost: a pause of {:?}", health.longest_pause);
    /// }
    /// # assert!(health.margin > Duration::from_secs(9));
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn health(&self) -> LeaseHealth {
        self.lease.health(Moment::now())
    }

    /// Waits until the lease is lost, and answers how. It answers at once if the lease is lost already, and
    /// never while the lease is renewed.
    ///
    /// # Cancel safety
    /// The future only listens. Dropping it changes nothing.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let guard = manager.lock("import").acquire().await?;
    /// let import = tokio::time::sleep(Duration::from_millis(10)); // the work
    /// tokio::select! {
    ///     () = import => println!("imported"),
    ///     reason = guard.lost() => println!("stopped: {reason}"),
    /// }
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub async fn lost(&self) -> LostReason {
        loop {
            let changed = self.lease.changed();
            if let Err(reason) = self.lease.status(Moment::now()) {
                return reason;
            }
            changed.await;
        }
    }

    /// Renews the lease now, for its whole ttl from now.
    ///
    /// The keeper renews by itself. This is for a lease with [`renew(false)`](crate::LockRequest::renew), or
    /// before a step that needs a known time.
    ///
    /// # Errors
    /// - [`LockError::Lost`] if the lease has ended.
    /// - [`LockError::Store`] if the store does not confirm. The lease then lasts as long as it did before.
    /// - [`LockError::Config`] outside of a tokio runtime.
    ///
    /// # Cancel safety
    /// If the future is dropped, the renewal may or may not happen. The lease stays valid for at least as
    /// long as it was.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let lock = manager.lock("import").ttl(Duration::from_secs(10)).renew(false);
    /// let guard = lock.acquire().await?;
    /// tokio::time::sleep(Duration::from_secs(5)).await;
    /// guard.renew().await?;
    /// assert!(guard.remaining() > Duration::from_secs(9));
    /// # Ok(()) }
    /// # let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// # let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub async fn renew(&self) -> Result<(), LockError> {
        let lease = &self.lease;
        self.ensure_runtime("renewal")?;
        let sent = Moment::now();
        lease.check()?;
        match self.keeper.shared().renew_once(lease).await {
            Ok(true) => {
                lease.confirm(sent, Moment::now());
                events::renewed(&lease.key);
                lease.check()?;
                self.keeper.track(lease, sent);
                Ok(())
            }
            Ok(false) => {
                lease.lose(LostReason::NotOwner);
                Err(lease.lost_error(LostReason::NotOwner))
            }
            Err(error) => {
                events::store_failed(&lease.key, &error);
                Err(error.for_key(lease.key.name()))
            }
        }
    }

    /// Runs `body` under this lock, once. The body is dropped at its next await when the lease is lost, or
    /// runs to its end with [`OnLost::Finish`](crate::OnLost::Finish). The lock is not released.
    ///
    /// # Errors
    /// [`LockError::Lost`] if the lease ended before the body did, even if the body blocked its thread past
    /// the lease and then returned. Never with [`OnLost::Finish`](crate::OnLost::Finish).
    ///
    /// # Cancel safety
    /// Dropping the future drops the body. The lock stays with the guard.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let guard = manager.lock("import").acquire().await?;
    /// let rows = guard.run(async { 3 }).await?;
    /// let more = guard.run(async { 4 }).await?; // still under the same lock
    /// guard.release().await?;
    /// assert_eq!(rows + more, 7);
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn run<F: Future>(&self, body: F) -> impl Future<Output = Result<F::Output, LockError>> {
        LockedBody::new(body, self.keeper.shared(), &self.lease)
    }
}

impl LockGuard {
    /// # Errors
    /// [`LockError::Config`] if there is no tokio runtime to send a command on.
    fn ensure_runtime(&self, command: &str) -> Result<(), LockError> {
        // A task has an id, and that is the cheaper question.
        if task::try_id().is_some() {
            return Ok(());
        }
        Handle::try_current().map(drop).map_err(|error| {
            let reason =
                format!("there is no tokio runtime here to send the {command} ({error}); await it in a task");
            LockError::Config { key: self.lease.key.name().to_owned(), reason }
        })
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("key", &self.key())
            .field("remaining", &self.remaining())
            .field("fencing_token", &self.fencing_token())
            .finish_non_exhaustive()
    }
}
