//! Locks for tests: [`TestLocks`] makes a key busy, loses a lock, and lets the store fail (feature
//! `testing`).
//!
//! Enable the feature for tests only, beside tokio's paused clock:
//!
//! ```toml
//! [dev-dependencies]
//! distlock = { version = "..", features = ["testing"] }
//! tokio = { version = "1", features = ["macros", "rt", "test-util"] }
//! ```
//!
//! The code under test gets its manager in the same way as in production: from the state of a handler, by
//! [`with_manager`](crate::with_manager), or as an argument. [`guide::testing`](crate::guide::testing) has
//! more on tests of locked functions.
//!
//! ```rust,test_harness
//! use std::time::Duration;
//!
//! use distlock::{LockError, LostReason, StoreErrorKind, distributed_lock, testing::TestLocks, with_manager};
//! use tokio::time::{Instant, sleep};
//!
//! #[distributed_lock(key = "order:{order_id}", ttl = 30, wait = "2s")]
//! async fn fulfil(order_id: u64) -> Result<u64, LockError> {
//!     sleep(Duration::from_millis(100)).await; // the work
//!     Ok(order_id)
//! }
//!
//! #[tokio::test(start_paused = true)]
//! async fn an_order_that_is_being_fulfilled_elsewhere_is_refused_after_two_seconds() {
//!     let (locks, started) = (TestLocks::new(), Instant::now());
//!     locks.busy("order:42");
//!     let refused = with_manager(locks.manager(), fulfil(42)).await;
//!     assert!(matches!(refused, Err(LockError::Busy { .. })));
//!     assert_eq!(started.elapsed().as_secs(), 2); // of a clock that no one has to wait for
//! }
//!
//! #[tokio::test(start_paused = true)]
//! async fn an_order_whose_lock_is_lost_is_not_fulfilled() {
//!     let locks = TestLocks::new();
//!     locks.lose("order:42", LostReason::Expired);
//!     let stopped = with_manager(locks.manager(), fulfil(42)).await;
//!     assert!(matches!(stopped, Err(LockError::Lost { reason: LostReason::Expired, .. })));
//!     locks.assert_released("order:42").await;
//! }
//!
//! #[tokio::test(start_paused = true)]
//! async fn without_a_store_an_order_is_not_fulfilled() {
//!     let locks = TestLocks::new();
//!     locks.fail("order:42", StoreErrorKind::Unreachable);
//!     let failed = with_manager(locks.manager(), fulfil(42)).await;
//!     assert!(matches!(failed, Err(LockError::Store { .. })));
//! }
//! ```
//!
//! # How do I run without locks in tests?
//! With a manager in memory. A test that is not about locks needs no feature and no server:
//! `with_manager(LockManager::in_memory(), handler(..))`, or
//! [`LockManager::in_memory`](crate::LockManager::in_memory) in the state of the handlers. Each manager
//! in memory has keys of its own, so no test waits for another one, and a lock takes microseconds. Keep
//! [`set_default`](crate::set_default) out of tests that run side by side: it sets one manager for the
//! whole process, and they would share its keys.
//!
//! There is no switch that lets a body run without its lock: one day it would be on in production. An
//! attribute written as `#[cfg_attr(not(test), distributed_lock(key = ".."))]` is left out of unit tests.
//! They then notice neither a wrong key nor a lock that is missing, and a body that uses its `guard` does
//! not compile.

pub use distlock_core::testing::TestLocks;
