//! Distributed locks in one line: one of many copies of a service does a thing at a time.
//!
//! ```
//! use distlock::{LockError, LockManager, distributed_lock};
//!
//! #[distributed_lock(key = "order:{order_id}", ttl = 30, wait = "2s")]
//! async fn fulfil(order_id: u64) -> Result<u64, LockError> {
//!     // .. what only one may do at a time ..
//!     Ok(order_id)
//! }
//!
//! # fn main() -> Result<(), LockError> { tokio::runtime::Runtime::new().unwrap().block_on(async {
//! // Once, in main. With the default features also "redis://127.0.0.1/".
//! distlock::set_default(LockManager::connect("memory://").await?);
//! assert_eq!(fulfil(42).await?, 42);
//! # Ok(()) }) }
//! ```
//!
//! # Which part for what
//! - [`macro@distributed_lock`] locks a function; its page has all arguments.
//! - [`LockManager`] is the handle on the store: [`connect`](LockManager::connect), [`builder`](LockManager::builder),
//!   [`in_memory`](LockManager::in_memory). [`set_default`] gives one to the whole program, [`with_manager`] to one future,
//!   `locks = self.locks` to one function.
//! - [`LockManager::lock`] takes a lock by hand; [`LockGuard`] is one that is held.
//! - [`LockError`] says what went wrong, by what to do next.
//!
//! In tests, give each its own store:
//!
//! ```
//! # use distlock::{LockError, LockManager, distributed_lock, with_manager};
//! # #[distributed_lock(key = "order:{order_id}")]
//! # async fn fulfil(order_id: u64) -> Result<u64, LockError> { Ok(order_id) }
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let locks = LockManager::in_memory();
//! with_manager(locks.clone(), async {
//!     let _somebody_else = locks.lock("order:42").acquire().await?;
//!     assert!(matches!(fulfil(42).await, Err(LockError::Busy { .. })));
//!     Ok::<_, LockError>(())
//! })
//! .await
//! # }).unwrap();
//! ```
//!
//! # What a lease is not
//! A lease excludes others while the server keeps its data and clocks run at about the same speed. It does not stop a write that is on its
//! way when the lease ends. Where that matters, ask for a fencing token (`fenced`, [`LockGuard::fencing_token`]) and have the
//! resource refuse lower ones than it has seen.
//!
//! # Features
//! `redis` (default); `tls`: `rediss://` URLs by rustls; `axum` and `actix-web`: [`LockError`] is a response.
#![forbid(unsafe_code)]

#[cfg(feature = "redis")]
pub use distlock_core::RedisStore;
pub use distlock_core::{
    Acquired, DEFAULT_CONNECT_TIMEOUT, DEFAULT_NAMESPACE, DEFAULT_RESPONSE_TIMEOUT, DEFAULT_TTL, Enqueue,
    FencingToken, HandOver, Hint, HintFuture, Holder, Key, KeyFault, LockError, LockGuard, LockManager,
    LockManagerBuilder, LockRequest, LostReason, MAX_KEY_BYTES, MAX_TTL, MIN_TTL, MemoryStore, Moment,
    NextWaiter, OnLost, OwnerToken, QuorumStore, Release, Setting, Store, StoreError, StoreErrorKind,
    StoreFuture, set_default, with_manager,
};
/// ```
/// use std::time::Duration;
///
/// use distlock::{LockError, LockManager, distributed_lock};
///
/// struct Order { id: u64, customer: String }
///
/// /// A handler for the busy case, here: say so.
/// #[distributed_lock(key = "order:{order.customer}:{order.id}", ttl = 30, on_busy = |_| Ok("in progress"))]
/// async fn fulfil(order: Order) -> Result<&'static str, LockError> {
///     Ok("fulfilled")
/// }
///
/// struct Reports { locks: LockManager, pause: Duration }
///
/// impl Reports {
///     /// Every replica calls it, one does it, and nobody again within the pause.
///     #[distributed_lock(key = "report:{name}", ttl = self.pause, at_least = self.pause, on_busy = skip, locks = self.locks)]
///     async fn rebuild(&self, name: &str) -> Result<(), LockError> {
///         Ok(())
///     }
///
///     /// The body sees its lock, and shows the fencing token to what it writes to.
///     #[distributed_lock(key = "ledger", fenced, guard = lock, locks = self.locks)]
///     async fn post(&self) -> Result<u64, LockError> {
///         Ok(lock.fencing_token().map_or(0, |token| token.value()))
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let reports = Reports { locks: LockManager::in_memory(), pause: Duration::from_secs(60) };
/// reports.rebuild("sales").await?;
/// reports.rebuild("sales").await?; // skipped
/// assert!(reports.post().await? > 0);
/// let order = Order { id: 42, customer: "acme".into() };
/// let done = distlock::with_manager(reports.locks.clone(), fulfil(order)).await?;
/// assert_eq!(done, "fulfilled");
/// # Ok::<_, LockError>(()) }).unwrap();
/// ```
pub use distlock_macros::distributed_lock;

#[doc(hidden)]
pub mod __private;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
