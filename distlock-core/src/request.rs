//! One call's wishes, and how they become a guard.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::{Either, FutureExt};
use tokio::time::{Instant, timeout_at};

use crate::{
    acquire::attempt::{AcquireOp, Mode, Outcome},
    acquire::contender::Contender,
    error::{LockError, StoreError, StoreErrorKind},
    guard::LockGuard,
    guard::call_chain as chain,
    keeper::Keeper,
    key::Key,
    manager::LockManager,
    options::{OnLost, Options, Release, Wait},
    wait_queue::QueuePlace,
};

/// A lock that is about to be asked for: made by [`LockManager::lock`], ended by [`acquire`](Self::acquire),
/// [`try_acquire`](Self::try_acquire) or [`run`](Self::run). Nothing is sent before that future is polled.
#[must_use = "nothing is locked until `acquire`, `try_acquire` or `run` is awaited"]
#[derive(Debug, Clone)]
pub struct LockRequest {
    manager: LockManager,
    key: String,
    options: Options,
}

impl LockRequest {
    pub(crate) fn new(manager: LockManager, key: String, options: Options) -> Self {
        Self { manager, key, options }
    }

    /// How long the lease lasts without renewal, counted from just before it is asked for: whole milliseconds from 10 ms to 366 days.
    /// Default: the manager's, 30 s. Renewal keeps a longer body locked; the ttl is how long others wait after a crash.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = ttl;
        self
    }

    /// How long to wait at the most for a key that somebody else holds, counted from the first poll. Default zero: one attempt, no sleep.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.options.wait = if wait.is_zero() { Wait::No } else { Wait::UpTo(wait) };
        self
    }

    /// Enqueue for as long as it takes. An unreachable store still ends it, after one ttl without an answer.
    pub fn wait_forever(mut self) -> Self {
        self.options.wait = Wait::Forever;
        self
    }

    /// Whether the lease is renewed, every third of its ttl. Default true.
    pub fn renew(mut self, renew: bool) -> Self {
        self.options.renew = renew;
        self
    }

    /// How long the lock may be held in all, renewals included, counted from the grant; then it is lost. Default: no limit.
    pub fn max_hold(mut self, max_hold: Duration) -> Self {
        self.options.max_hold = Some(max_hold);
        self
    }

    /// How long the key stays taken at the least, counted from the grant, also when the work was quicker: at most the ttl. The
    /// release then does not free the key but shortens its lease to the rest. Default zero. For jobs that several
    /// hosts start at about the same time.
    pub fn at_least(mut self, at_least: Duration) -> Self {
        self.options.at_least = at_least;
        self
    }

    /// Asks for a fencing token: see [`LockGuard::fencing_token`].
    pub fn fenced(mut self) -> Self {
        self.options.fenced = true;
        self
    }

    /// Whether those who wait in other processes, and came first, are served first. Default true. With `false`, on a Redis server with lines, a release may pass the
    /// key to this waiter, who stands beside the releaser, up to 16 times in a row: faster, because nobody has to be told over the
    /// network, and bounded, so that nobody starves. Among the waiters of one process the order of arrival stays.
    pub fn fair(mut self, fair: bool) -> Self {
        self.options.fair = fair;
        self
    }

    /// What happens to a body, in [`run`](Self::run), whose lease is lost. Default: it is dropped at its next await.
    pub fn on_lost(mut self, on_lost: OnLost) -> Self {
        self.options.on_lost = on_lost;
        self
    }

    /// When [`run`](Self::run) returns. Default: when the store has confirmed the release.
    pub fn release(mut self, release: Release) -> Self {
        self.options.release = release;
        self
    }

    /// Takes the lock, waiting for it as long as [`wait`](Self::wait) allows. Waiters of one process are served in the order of their first poll;
    /// on a Redis server with lines, those of all processes are, unless they are not [`fair`](Self::fair). One that gives up leaves its place among the processes to the
    /// next of its own.
    ///
    /// # Errors
    /// [`LockError::Busy`] when somebody else held it until then; [`LockError::Store`] when the store did not answer: at once without
    /// `wait`, else after trying again until `wait` or one ttl is over. The other variants before anything is sent.
    ///
    /// # Cancel safety
    /// Dropped before its first poll it has done nothing; dropped later it leaves the queue, and a key that it took or may yet take
    /// is released in the background, within a round trip once the server answers.
    pub async fn acquire(self) -> Result<LockGuard, LockError> {
        let started = Instant::now();
        let Self { manager, key, options } = self;
        let key = manager.key(&key)?;
        let options = options.checked(key.name())?;
        if chain::holds(manager.shared(), &key) {
            return Err(LockError::Reentrant { key: key.name().to_owned() });
        }
        let keeper = manager
            .keeper()
            .map_err(|error| LockError::Config { key: key.name().to_owned(), reason: error.to_string() })?;
        let wait = Acquisition { keeper: &keeper, key: &key, options: &options, started };
        let held = match options.wait {
            Wait::No => wait.once().await?,
            // One that is too far to be told is none.
            Wait::UpTo(wait_for) => wait.until(started.checked_add(wait_for)).await?,
            Wait::Forever => wait.until(None).await?,
        };
        Ok(LockGuard::new(held, keeper))
    }

    /// Takes the lock if nobody has it: one attempt, whatever [`wait`](Self::wait) says; `None` when somebody else holds it.
    ///
    /// # Errors
    /// As [`acquire`](Self::acquire), less `Busy`.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire).
    pub async fn try_acquire(self) -> Result<Option<LockGuard>, LockError> {
        match self.wait(Duration::ZERO).acquire().await {
            Ok(guard) => Ok(Some(guard)),
            Err(LockError::Busy { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the lock, runs `body` under it, releases it, and gives back the body's value.
    ///
    /// A release that fails is logged and counted ([`LockManager::failed_releases`]) and takes nothing from the value.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire), before the body has run at all; [`LockError::Lost`] when the lease ended under the body.
    ///
    /// # Cancel safety
    /// As [`acquire`](Self::acquire); dropping it also drops the body, before the release.
    ///
    /// # Examples
    /// ```
    /// # async fn example() -> Result<(), distlock_core::LockError> {
    /// let manager = distlock_core::LockManager::in_memory();
    /// let sum = manager.lock("report:7").run(async { 1 + 1 }).await?;
    /// assert_eq!(sum, 2);
    /// # Ok(()) }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
    /// ```
    pub async fn run<F: Future>(self, body: F) -> Result<F::Output, LockError> {
        let guard = self.acquire().await?;
        let value = guard.run(body).await;
        guard.finish().await;
        value
    }
}

/// A checked request on its way.
struct Acquisition<'a> {
    keeper: &'a Keeper,
    key: &'a Key,
    options: &'a Options,
    started: Instant,
}

type Granted = Arc<crate::lease::Lease>;

impl Acquisition<'_> {
    /// One attempt, no sleep.
    async fn once(&self) -> Result<Granted, LockError> {
        let shared = self.keeper.shared();
        // A free key belongs to those who stand in line for it.
        if shared.waiting.has_waiters(self.key) {
            let holder = shared.store.inspect(self.key).await.map_err(|error| self.store(error))?;
            return Err(self.busy(holder.and_then(|holder| holder.remaining)));
        }
        match AcquireOp::new(self.keeper, self.key, self.options).attempt(Mode::Once).await {
            Ok(Outcome::Granted(held)) => Ok(held),
            Ok(Outcome::Busy { remaining }) => Err(self.busy(remaining)),
            Err(error) => Err(self.store(error)),
        }
    }

    /// Stands in line; at its contender, asks until the key is granted or the deadline has come.
    async fn until(&self, deadline: Option<Instant>) -> Result<Granted, LockError> {
        let place = QueuePlace::join(self.keeper, self.key);
        let turn = before(deadline, place.turn()).await;
        let turn = turn.filter(|_| deadline.is_none_or(|deadline| Instant::now() < deadline));
        let Some(turn) = turn else { return Err(self.busy(place.remaining(Instant::now()))) };
        let mut contender = Contender::new(&place, self.options, turn, self.started);
        let mut failing: Option<(Instant, StoreError)> = None;
        loop {
            if let Some(due) = contender.due() {
                match before(deadline, contender.sleep(due)).await {
                    Some(Ok(Some(held))) => return Ok(held),
                    Some(Ok(None)) => {}
                    Some(Err(error)) => return Err(self.store(error)),
                    None => {
                        return Err(match failing {
                            Some((_, error)) => self.store(error),
                            None => self.busy(place.remaining(Instant::now())),
                        });
                    }
                }
            }
            let answer = before(deadline, contender.ask()).await;
            let now = Instant::now();
            match answer {
                Some(Ok(Some(held))) => return Ok(held),
                Some(Ok(None)) => failing = None,
                Some(Err(error)) => {
                    let since = failing.take().map_or(now, |(since, _)| since);
                    if !error.is_transient() || now - since >= self.options.ttl {
                        return Err(self.store(error));
                    }
                    failing = Some((since, error));
                }
                None => {
                    // The deadline came before the answer.
                    let late = || {
                        StoreError::new(StoreErrorKind::TimedOut, "the server did not answer within `wait`")
                    };
                    return Err(match (failing, place.remaining(now)) {
                        (Some((_, error)), _) => self.store(error),
                        (None, None) => self.store(late()),
                        (None, seen) => self.busy(seen),
                    });
                }
            }
        }
    }

    fn busy(&self, remaining: Option<Duration>) -> LockError {
        LockError::Busy { key: self.key.name().to_owned(), waited: self.started.elapsed(), remaining }
    }

    fn store(&self, error: StoreError) -> LockError {
        error.for_key(self.key.name())
    }
}

/// The future's value, or `None` when the deadline came first. No `async fn`, which would hold the future twice.
fn before<F: Future>(deadline: Option<Instant>, future: F) -> impl Future<Output = Option<F::Output>> {
    match deadline {
        Some(deadline) => Either::Left(timeout_at(deadline, future).map(Result::ok)),
        None => Either::Right(future.map(Some)),
    }
}
