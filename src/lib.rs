//! Distributed locks in one line: of all the copies of a service, one at a time runs a piece of code.
//!
//! ```
//! use distlock::{LockError, LockManager, distributed_lock};
//!
//! #[distributed_lock(key = "order:{order_id}", ttl = 30, wait = "2s")]
//! async fn fulfil(order_id: u64) -> Result<u64, LockError> {
//!     // .. only one call at a time gets here, for each order ..
//!     Ok(order_id)
//! }
//!
//! # fn main() -> Result<(), LockError> { tokio::runtime::Runtime::new().unwrap().block_on(async {
//! // Once, at the start of main. On Redis the URL is "redis://127.0.0.1/".
//! distlock::set_default(LockManager::connect("memory://").await?);
//! assert_eq!(fulfil(42).await?, 42);
//! # Ok(()) }) }
//! ```
//!
//! # What is where
//! | you want to | look at |
//! | --- | --- |
//! | lock a function | [`macro@distributed_lock`], which has all arguments |
//! | lock a key without the attribute | [`LockManager::lock`], [`LockRequest`] |
//! | connect to Redis, or to a quorum | [`LockManager::connect`], [`LockManager::builder`] |
//! | set the manager of the program, or of a test | [`set_default`], [`with_manager`] |
//! | look at a lock that is held, or release it | [`LockGuard`] |
//! | know what went wrong, and what to do | [`LockError`], [`LostReason`], [`StoreErrorKind`] |
//! | lock in a thread without a runtime | [`LockRequest::blocking_acquire`] |
//! | end a program without leaving keys behind | [`LockManager::drain`], [`LockManager::shutdown`] |
//! | keep late writes away from a resource | [`LockGuard::fencing_token`], [`guide::fencing`] |
//! | keep locks in a store of your own | [`Store`], [`MemoryStore`], [`QuorumStore`] |
//! | read how a thing is done | [`guide`]: first steps, recipes, migrating, testing, operations, messages |
//!
//! A [`LockManager`] is a handle on the store that keeps the locks. A program needs one. A locked function
//! takes the manager that its argument `locks = ..` names, else that of [`with_manager`], else that of
//! [`set_default`].
//!
//! [`LockError`] has a variant for each way to go on: wait, give up, correct the call, stop the work.
//!
//! # In tests
//! Give each test a store of its own, in memory. [`guide::testing`] has more:
//!
//! ```
//! use distlock::{LockError, LockManager, distributed_lock, with_manager};
//!
//! #[distributed_lock(key = "order:{order_id}")]
//! async fn fulfil(order_id: u64) -> Result<u64, LockError> {
//!     Ok(order_id)
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let locks = LockManager::in_memory();
//! let _other_holder = locks.lock("order:42").acquire().await?;
//! let refused = with_manager(locks, fulfil(42)).await;
//! assert!(matches!(refused, Err(LockError::Busy { .. })));
//! # Ok::<_, LockError>(()) }).unwrap();
//! ```
//!
//! The feature `testing` has more for tests: keys that are busy, locks that are lost, a store that fails.
//!
//! # tower services
//! The future of a service owns what it needs, and `locks = self.locks` is evaluated by the call. The return
//! type is written out, because `Self::Future` does not say what the future returns.
//!
//! ```
//! use std::{pin::Pin, task::{Context, Poll}};
//!
//! use distlock::{LockError, LockManager, distributed_lock};
//! use tower_service::Service;
//!
//! type Reply = Result<u64, LockError>;
//!
//! struct Fulfil { locks: LockManager }
//!
//! impl Service<u64> for Fulfil {
//!     type Response = u64;
//!     type Error = LockError;
//!     type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;
//!
//!     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LockError>> {
//!         Poll::Ready(Ok(()))
//!     }
//!
//!     #[distributed_lock(key = "order:{id}", locks = self.locks)]
//!     fn call(&mut self, id: u64) -> Pin<Box<dyn Future<Output = Reply> + Send>> {
//!         Box::pin(async move {
//!             // .. only one call at a time gets here, for each order ..
//!             Ok(id)
//!         })
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let mut service = Fulfil { locks: LockManager::in_memory() };
//! assert_eq!(service.call(42).await?, 42);
//! # Ok::<_, LockError>(()) }).unwrap();
//! ```
//!
//! # What a lease does not guarantee
//! A lease excludes other holders while the server keeps its data and clocks run at about the same speed. It
//! does not stop a write that is on its way when the lease ends. If that matters, ask for a fencing token
//! (`fenced`, [`LockGuard::fencing_token`]), and let the resource refuse every fencing token that is lower
//! than one it has seen.
//!
//! # Features
//! - `redis` (default): the store on Redis and Valkey.
//! - `tls`: `rediss://`, `valkeys://` and `redlocks://` URLs, and `Tls` for certificates of your own.
//! - `sentinel`: `redis-sentinel://` and, with `tls`, `rediss-sentinel://` URLs.
//! - `credentials`: `LockManagerBuilder::credentials`, for passwords and tokens that rotate.
//! - `cluster`: `redis-cluster://` and, with `tls`, `rediss-cluster://` URLs.
//! - `axum`, `actix-web`: [`LockError`] is a response of the framework, as [`Problem`] describes.
//! - `tonic`: `tonic::Status` is made from a [`LockError`].
//! - `tower`: `LockLayer` locks the requests of a service, for axum and tonic.
//! - `metrics`: counters, histograms and gauges by the facade `metrics`; see [`guide::operations`].
//! - `testing`: the module of this name has locks for tests, which are busy, lost or failing on request.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "cluster")]
pub use distlock_core::ClusterStore;
/// # Examples
/// Payments with one `Idempotency-Key` run one at a time. A second request is answered with 409 while the
/// first one runs, and a request without the header with 400.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # mod service {
/// use axum::{
///     Router,
///     extract::Request,
///     http::{Method, StatusCode},
///     response::IntoResponse,
///     routing::post,
/// };
/// use distlock::{LockError, LockLayer, LockManager};
///
/// fn service(locks: LockManager) -> Router {
///     let lock = move |request: &Request| {
///         let header = request.headers().get("idempotency-key").and_then(|value| value.to_str().ok());
///         // An empty key is refused.
///         locks.lock(header.map_or(String::new(), |header| format!("payment:{header}")))
///     };
///     let on_error = |error: LockError| match error {
///         LockError::InvalidKey { .. } => Ok((StatusCode::BAD_REQUEST, "Idempotency-Key?").into_response()),
///         error => Ok(error.into_response()),
///     };
///     let layer = LockLayer::new(lock, on_error).only_if(|request| request.method() == Method::POST);
///     Router::new().route("/payments", post(async || "paid")).layer(layer)
/// }
/// # }
/// ```
#[cfg(feature = "tower")]
pub use distlock_core::LockLayer;
#[cfg(feature = "tower")]
pub use distlock_core::LockService;
#[cfg(feature = "redis")]
pub use distlock_core::RedisStore;
#[cfg(feature = "tls")]
pub use distlock_core::Tls;
/// Sets the manager of a whole program, at its start:
///
/// ```
/// use distlock::{LockError, LockManager, distributed_lock};
///
/// #[distributed_lock(key = "report:{name}")]
/// async fn rebuild(name: &str) -> Result<(), LockError> {
///     Ok(())
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), LockError> {
///     distlock::set_default(LockManager::connect("memory://").await?); // or "redis://127.0.0.1/"
///     rebuild("sales").await
/// }
/// ```
pub use distlock_core::set_default;
/// Runs a future, such as a test, with a manager of its own:
///
/// ```
/// use distlock::{LockError, LockManager, distributed_lock, with_manager};
///
/// #[distributed_lock(key = "order:{order_id}")]
/// async fn fulfil(order_id: u64) -> Result<u64, LockError> {
///     Ok(order_id)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), LockError> {
/// let locks = LockManager::in_memory();
/// let done = with_manager(locks.clone(), fulfil(42)).await?;
/// assert_eq!(done, 42);
///
/// let _other_holder = locks.lock("order:42").acquire().await?;
/// let refused = with_manager(locks, fulfil(42)).await;
/// assert!(matches!(refused, Err(LockError::Busy { .. })));
/// # Ok(()) }
/// ```
pub use distlock_core::with_manager;
pub use distlock_core::{
    Acquired, Check, CheckState, CheckSubject, ClockDifference, DEFAULT_CONNECT_TIMEOUT, DEFAULT_NAMESPACE,
    DEFAULT_RESPONSE_TIMEOUT, DEFAULT_TTL, Diagnosis, DiagnosisFuture, Enqueue, FencingToken, HandOver, Hint,
    HintFuture, Holder, HolderId, HolderKind, HolderPages, HolderStream, InvalidHolderId, Key, KeyFault,
    LeaseHealth, LockError, LockGuard, LockManager, LockManagerBuilder, LockRequest, LostReason,
    MAX_KEY_BYTES, MAX_TTL, MIN_TTL, MemoryStore, Moment, NextWaiter, OnLost, OwnerToken, PageFuture,
    Problem, QuorumStore, Release, Right, ServerDiagnosis, Setting, Store, StoreError, StoreErrorKind,
    StoreFuture,
};
/// Runs an async function under a distributed lock: for each key, one call at a time, across tasks,
/// processes and hosts.
///
/// ```
/// use std::time::Duration;
///
/// use distlock::{LockError, LockManager, distributed_lock};
///
/// struct Order { id: u64, shop: String }
///
/// /// While another call holds the key, returns what the handler returns.
/// #[distributed_lock(
///     key = "order:{order.shop}:{order.id}",
///     ttl = 30,
///     on_busy = |_| Ok("in progress"),
/// )]
/// async fn fulfil(order: Order) -> Result<&'static str, LockError> {
///     Ok("fulfilled")
/// }
///
/// struct Reports { locks: LockManager, pause: Duration }
///
/// impl Reports {
///     /// Every replica calls this, and one runs it. The others skip it, as do
///     /// later calls within the pause.
///     #[distributed_lock(
///         key = "report:{name}",
///         ttl = self.pause,
///         at_least = self.pause,
///         on_busy = skip,
///         locks = self.locks,
///     )]
///     async fn rebuild(&self, name: &str) -> Result<(), LockError> {
///         Ok(())
///     }
///
///     /// The body uses its lock by the name `lock`, and passes the fencing
///     /// token to the resource.
///     #[distributed_lock(
///         key = "ledger",
///         fenced,
///         guard = lock,
///         locks = self.locks,
///     )]
///     async fn post(&self) -> Result<u64, LockError> {
///         Ok(lock.fencing_token().map_or(0, |token| token.value()))
///     }
/// }
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let locks = LockManager::in_memory();
/// let pause = Duration::from_secs(60);
/// let reports = Reports { locks: locks.clone(), pause };
/// reports.rebuild("sales").await?;
/// reports.rebuild("sales").await?; // skipped
/// assert!(reports.post().await? > 0);
/// let order = Order { id: 42, shop: "acme".into() };
/// let done = distlock::with_manager(locks, fulfil(order)).await?;
/// assert_eq!(done, "fulfilled");
/// # Ok::<_, LockError>(()) }).unwrap();
/// ```
pub use distlock_macros::distributed_lock;

#[cfg(feature = "testing")]
pub mod testing;

#[doc(hidden)]
pub mod __private;

#[cfg(any(doc, doctest))]
pub mod guide;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
