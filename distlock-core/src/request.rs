//! The settings of one call, and how the call gets a guard.

use std::{future::Future, time::Duration};

use crate::{
    acquire::Call,
    blocking,
    clock::Moment,
    error::LockError,
    events::AcquireReport,
    guard::{LockGuard, call_chain},
    key::NO_TEMPLATE,
    manager::LockManager,
    options::{OnLost, Options, Release, Wait},
};

impl LockManager {
    /// Begins a lock on `key`: 1 to 4,096 bytes, checked when the lock is acquired. The store sees the key in
    /// the manager's namespace.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let order_id = 42;
    /// let guard = manager.lock(format!("order:{order_id}")).acquire().await?;
    /// assert_eq!(guard.key(), "order:42");
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn lock(&self, key: impl Into<String>) -> LockRequest {
        LockRequest {
            manager: self.clone(),
            key: key.into(),
            template: NO_TEMPLATE,
            options: Options::new(self.ttl()),
        }
    }
}

/// A lock that is about to be acquired: made by [`LockManager::lock`], ended by [`acquire`](Self::acquire),
/// [`try_acquire`](Self::try_acquire) or [`run`](Self::run).
///
/// Nothing is sent before that future is polled.
#[must_use = "nothing is locked until `acquire`, `try_acquire` or `run` is awaited"]
#[derive(Debug, Clone)]
pub struct LockRequest {
    manager: LockManager,
    key: String,
    template: &'static str,
    options: Options,
}

impl LockRequest {
    /// Sets how long the lease lasts without renewal, counted from just before it is asked for: 10 ms to 366
    /// days, in whole milliseconds.
    ///
    /// The default is the manager's ttl, 30 s. Renewal keeps a longer body locked. After a crash of the
    /// holder, the key stays taken until the ttl is over.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let guard = manager.lock("order:42").ttl(Duration::from_secs(10)).acquire().await?;
    /// assert!(guard.remaining() < Duration::from_secs(10));
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = ttl;
        self
    }

    /// Sets how long to wait at most for a key that is held, counted from the first poll.
    ///
    /// The default is zero: one attempt, no sleep.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// use distlock::LockError;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let _held = manager.lock("order:42").acquire().await?;
    /// let refused = manager.lock("order:42").wait(Duration::from_millis(50)).acquire().await;
    /// assert!(matches!(refused, Err(LockError::Busy { waited, .. }) if waited.as_millis() >= 50));
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn wait(mut self, wait: Duration) -> Self {
        self.options.wait = if wait.is_zero() { Wait::No } else { Wait::UpTo(wait) };
        self
    }

    /// Waits for as long as it takes. A store that is unreachable for one ttl still ends the wait.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let held = manager.lock("order:42").acquire().await?;
    /// let waiter = tokio::spawn(manager.lock("order:42").wait_forever().acquire());
    /// held.release().await?;
    /// let guard = waiter.await.expect("the waiter does not panic")?;
    /// assert!(guard.is_held());
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn wait_forever(mut self) -> Self {
        self.options.wait = Wait::Forever;
        self
    }

    /// Sets whether the lease is renewed, every third of its ttl. The default is true.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let lock = manager.lock("order:42").ttl(Duration::from_millis(100)).renew(false);
    /// let guard = lock.acquire().await?;
    /// tokio::time::sleep(Duration::from_millis(100)).await;
    /// assert!(!guard.is_held());
    /// # Ok(()) }
    /// # let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// # let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn renew(mut self, renew: bool) -> Self {
        self.options.renew = renew;
        self
    }

    /// Sets how long the lock may be held in all, renewals included, counted from the grant. Then it is lost.
    ///
    /// The default is no limit.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// use distlock::{LockError, LostReason};
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let hangs = std::future::pending::<()>();
    /// let stopped = manager.lock("report").max_hold(Duration::from_millis(100)).run(hangs).await;
    /// assert!(matches!(stopped, Err(LockError::Lost { reason: LostReason::MaxHold, .. })));
    /// # Ok(()) }
    /// # let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// # let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn max_hold(mut self, max_hold: Duration) -> Self {
        self.options.max_hold = Some(max_hold);
        self
    }

    /// Sets how long the key stays taken at the least, counted from the grant: at most the ttl. The default
    /// is zero.
    ///
    /// If the work was quicker, the release does not free the key but shortens its lease to the rest. This is
    /// for jobs that several hosts start at about the same time.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let nightly = manager.lock("nightly").ttl(Duration::from_secs(60)).at_least(Duration::from_secs(60));
    /// nightly.clone().run(async { /* done in no time */ }).await?;
    /// // The clock of another host is a few seconds late.
    /// assert!(nightly.try_acquire().await?.is_none());
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn at_least(mut self, at_least: Duration) -> Self {
        self.options.at_least = at_least;
        self
    }

    /// Asks for a fencing token: see [`LockGuard::fencing_token`].
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let first = manager.lock("ledger").fenced().acquire().await?;
    /// let first_token = first.fencing_token();
    /// first.release().await?;
    /// let second = manager.lock("ledger").fenced().acquire().await?;
    /// assert!(second.fencing_token() > first_token);
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn fenced(mut self) -> Self {
        self.options.fenced = true;
        self
    }

    /// Sets whether waiters of other runtimes and processes that came first are served first. The default is
    /// true.
    ///
    /// With `false`, a release in the waiter's own runtime may hand its lease to the waiter without a command
    /// to the store. The waiter must renew, must not be fenced, and must have the lease's ttl. At most 16
    /// leases in a row pass this way, so that no waiter starves. The waiters of one runtime keep their order.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let counter = manager.lock("counter").wait(Duration::from_secs(2)).fair(false);
    /// let (one, other) = tokio::join!(counter.clone().run(async { 1 }), counter.run(async { 2 }));
    /// assert_eq!(one? + other?, 3);
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn fair(mut self, fair: bool) -> Self {
        self.options.fair = fair;
        self
    }

    /// Sets what happens to a body, in [`run`](Self::run), whose lease is lost. By default it is dropped at
    /// its next await.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// use distlock::OnLost;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let lock = manager.lock("report").max_hold(Duration::from_millis(100)).on_lost(OnLost::Finish);
    /// let report = lock.run(async {
    ///     tokio::time::sleep(Duration::from_millis(200)).await;
    ///     "written without the lock in the end"
    /// });
    /// assert!(report.await.is_ok());
    /// # Ok(()) }
    /// # let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// # let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn on_lost(mut self, on_lost: OnLost) -> Self {
        self.options.on_lost = on_lost;
        self
    }

    /// Sets when [`run`](Self::run) returns. By default it returns when the store has confirmed the release.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use distlock::Release;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let sum = manager.lock("report:7").release(Release::Background).run(async { 1 + 1 }).await?;
    /// assert_eq!(sum, 2);
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn release(mut self, release: Release) -> Self {
        self.options.release = release;
        self
    }

    /// Sets the label of this lock in events and metrics: what the key was made from, such as `order:{id}`.
    ///
    /// The attribute sets the template of its key. The default is `-`. It is a `&'static str` so that the
    /// number of labels stays small, however many keys there are.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let order_id = 42;
    /// let lock = manager.lock(format!("order:{order_id}")).template("order:{order_id}");
    /// lock.acquire().await?.release().await?;
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn template(mut self, template: &'static str) -> Self {
        self.template = template;
        self
    }

    /// Acquires the lock, and waits for it as long as [`wait`](Self::wait) allows.
    ///
    /// The waiters of one manager in one runtime are served in the order of their first polls. On a Redis
    /// server that allows wait queues, the waiters of all runtimes and processes are served in that order,
    /// unless they are not [`fair`](Self::fair). A waiter that gives up leaves its place in the store's queue
    /// to the next waiter of its runtime.
    ///
    /// # Errors
    /// - [`LockError::Busy`] if the key was held until `wait` ran out. Without `wait`, also if a task of this
    ///   runtime waits for the key.
    /// - [`LockError::Store`] if the store did not answer: at once without `wait`, else after further
    ///   attempts until `wait` or one ttl is over. An error that is not transient ends the wait at once.
    /// - [`LockError::Reentrant`], [`InvalidKey`](LockError::InvalidKey),
    ///   [`InvalidDuration`](LockError::InvalidDuration) and [`Config`](LockError::Config) before anything is
    ///   sent.
    ///
    /// # Cancel safety
    /// A future that was never polled has sent nothing. A future that is dropped later leaves the queue. Its
    /// unanswered acquire or queue entry passes to the next waiter of its runtime. If no waiter is left, the
    /// keeper waits for the answer and releases the key. A grant that the future had received is released in
    /// the background. If the server never answers, the lease ends with its ttl.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// use std::time::Duration;
    ///
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let guard = manager.lock("order:42").wait(Duration::from_secs(2)).acquire().await?;
    /// assert!(guard.is_held());
    /// guard.release().await?;
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub async fn acquire(self) -> Result<LockGuard, LockError> {
        let started = Moment::now();
        let Self { manager, key, template, options } = self;
        let report = AcquireReport::begin(&key, template, options.wait);
        let refused = |error: &LockError| report.refused(error, template, started.at);
        let key = manager.key(&key).inspect_err(refused)?.with_template(template);
        let options = options.checked(key.name(), manager.grant_delay()).inspect_err(refused)?;
        if call_chain::holds(manager.shared(), &key) {
            return Err(LockError::Reentrant { key: key.name().to_owned() }).inspect_err(refused);
        }
        let keeper = manager
            .keeper()
            .map_err(|error| LockError::Config { key: key.name().to_owned(), reason: error.to_string() })
            .inspect_err(refused)?;
        let call = Call { keeper: &keeper, key: &key, options: &options, started };
        // Inlined: an async function of its own would store and copy these futures once more.
        let lease = match options.wait {
            Wait::No => call.once().await,
            // A deadline that overflows `Instant` counts as no deadline.
            Wait::UpTo(wait) => call.until(started.at.checked_add(wait)).await,
            Wait::Forever => call.until(None).await,
        };
        let lease = lease.inspect_err(refused)?;
        report.granted(&key, lease.span(), started.at);
        Ok(LockGuard::new(lease, keeper))
    }

    /// Acquires the lock as [`acquire`](Self::acquire) does, and blocks the thread meanwhile: for threads
    /// without a runtime, such as rayon's, and for the closure of `spawn_blocking`.
    ///
    /// The acquire and the renewals run on the runtime that the manager's
    /// [builder](crate::LockManagerBuilder::runtime) names. Dropping the guard releases the lock, without
    /// blocking and from any thread. The guard may be moved to another thread.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), and [`LockError::Config`] if no background thread can be started.
    ///
    /// # Panics
    /// In an asynchronous context, where blocking the thread would hold up other tasks. Call
    /// [`acquire`](Self::acquire) there.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # fn main() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let guard = manager.lock("report:7").blocking_acquire()?;
    /// assert!(guard.is_held());
    /// drop(guard);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn blocking_acquire(self) -> Result<LockGuard, LockError> {
        blocking::block_on(self.manager.runtime(), || self.clone().acquire()).unwrap_or_else(|error| {
            let reason = format!("no background thread can be started for a blocking acquire: {error}");
            Err(LockError::Config { key: self.key.clone(), reason })
        })
    }

    /// Acquires the lock if it is free: one attempt, whatever [`wait`](Self::wait) says. Answers `None` if
    /// another owner holds the key, or if a task of this runtime waits for it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), without `Busy`.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let guard = manager.lock("order:42").try_acquire().await?;
    /// assert!(guard.is_some());
    /// assert!(manager.lock("order:42").try_acquire().await?.is_none());
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub async fn try_acquire(self) -> Result<Option<LockGuard>, LockError> {
        match self.wait(Duration::ZERO).acquire().await {
            Ok(guard) => Ok(Some(guard)),
            Err(LockError::Busy { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Acquires the lock, runs `body` under it, releases it, and returns the body's value.
    ///
    /// A release that fails is logged and counted ([`LockManager::failed_releases`]). It never replaces the
    /// value.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire), before the body has begun; [`LockError::Lost`] if the lease ended
    /// under the body.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire). Dropping the future also drops the body, before the release.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let sum = manager.lock("report:7").run(async { 1 + 1 }).await?;
    /// assert_eq!(sum, 2);
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub async fn run<F: Future>(self, body: F) -> Result<F::Output, LockError> {
        let guard = self.acquire().await?;
        let value = guard.run(body).await;
        guard.finish().await;
        value
    }
}
