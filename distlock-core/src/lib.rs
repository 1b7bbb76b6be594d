//! Distributed locks as leases, on Redis or in memory: the part of [distlock](https://docs.rs/distlock) beneath its attribute, usable
//! without it.
//!
//! # How a lock travels
//! A [`LockManager`] turns a key and options into a [`LockRequest`]. The request checks both, stands in line behind the other
//! waiters of this process, and asks the [store](Store) with a fresh owner token. A grant becomes a [`LockGuard`] whose
//! lease the runtime's keeper renews, until the guard is released, dropped or told that the lease is
//! lost.
//!
//! ```
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), distlock_core::LockError> {
//! let manager = distlock_core::LockManager::in_memory();
//! let guard = manager.lock("order:42").ttl(Duration::from_secs(10)).wait(Duration::from_secs(2)).acquire().await?;
//! // .. what only one may do at a time ..
//! guard.release().await?;
//! # Ok(()) }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example()).unwrap();
//! ```

mod acquire;
mod backoff;
mod clock;
mod error;
mod guard;
mod keeper;
mod key;
mod lease;
mod limits;
mod manager;
mod options;
mod request;
mod runtime;
mod shared;
mod store;
mod token;
mod wait_queue;
#[cfg(any(feature = "axum", feature = "actix-web"))]
mod web;

pub use clock::Moment;
pub use error::{KeyFault, LockError, LostReason, Setting, StoreError, StoreErrorKind};
pub use guard::LockGuard;
pub use key::Key;
pub use limits::{
    DEFAULT_CONNECT_TIMEOUT, DEFAULT_NAMESPACE, DEFAULT_RESPONSE_TIMEOUT, DEFAULT_TTL, MAX_KEY_BYTES,
    MAX_TTL, MIN_TTL,
};
pub use manager::{LockManager, LockManagerBuilder, set_default, with_manager};
pub use options::{OnLost, Release};
pub use request::LockRequest;
#[cfg(feature = "redis")]
pub use store::RedisStore;
pub use store::{
    Acquired, Enqueue, HandOver, Hint, HintFuture, Holder, MemoryStore, NextWaiter, QuorumStore, Store,
    StoreFuture,
};
pub use token::{FencingToken, OwnerToken};

/// For the attribute's expansion; not part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::manager::current_manager;
    #[cfg(feature = "redis")]
    pub use crate::store::redis::names_on_server;
}
