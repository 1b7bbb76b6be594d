//! Distributed locks as leases, on Redis or in memory: the part of [distlock](https://docs.rs/distlock)
//! beneath its attribute, usable without it.
//!
//! # How a lock travels
//! A [`LockManager`] turns a key and options into a [`LockRequest`]. The request checks both. If the request
//! may wait, it joins the queue of its manager and runtime for the key. The contender of that queue asks the
//! [store](Store) with a fresh owner token. A grant becomes a lease, which the runtime's keeper renews, and
//! the caller gets a [`LockGuard`]. The guard ends with a release, with its drop, or when it is told that the
//! lease is lost.
//!
//! ```
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), distlock_core::LockError> {
//! let manager = distlock_core::LockManager::in_memory();
//! let lock = manager.lock("order:42").ttl(Duration::from_secs(10)).wait(Duration::from_secs(2));
//! let guard = lock.acquire().await?;
//! // .. what only one may do at a time ..
//! guard.release().await?;
//! # Ok(()) }
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(example()).unwrap();
//! ```
//!
//! # The rooms, in reading order
//! Each room uses only rooms below it.
//!
//! - `testing`: locks that a test keeps, loses and lets fail
//! - `web`: locks in a service: errors as HTTP and gRPC responses, and a layer that locks requests
//! - `request`: the settings of one call, and how the call gets a guard
//! - `acquire`: asking once, or in the queue until a deadline; the contender; one acquire, seen to its end
//! - `guard`: the held lock, its release, the future around a body, nested calls
//! - `manager`: the handle, its builder and URLs, the default manager, shutdown
//! - `keeper`: the task of a runtime that renews leases and cleans up after callers that have gone
//! - `shared`: what all parts of one manager share; releases and renewals as commands
//! - `wait_queue`: the queue of a manager's waiters for each key, in one runtime
//! - `lease`: a lease as this process knows it, what comes before it, and what is owed after it
//! - `store`: the contract of a store; the stores in memory, on Redis and on a quorum
//! - `events`: what is logged and counted
//! - `key`: a checked key in its namespace
//! - `options`: what a request can ask for
//! - `blocking`: a future that runs for a caller that blocks its thread
//! - `runtime`: one value for each tokio runtime
//! - `error`: what can go wrong, split by what the caller does next
//! - `holder`: the holder of a key, as far as others may know
//! - `limits`: defaults and limits
//! - `backoff`: delays between attempts
//! - `clock`: points in time
//! - `token`: owner tokens and fencing tokens
//! - `seam`: chance, clocks, tasks and connections, where a simulation replaces them
#![cfg_attr(docsrs, feature(doc_cfg))]

mod acquire;
mod backoff;
mod blocking;
mod clock;
mod error;
mod events;
mod guard;
mod holder;
mod keeper;
mod key;
mod lease;
mod limits;
mod manager;
mod options;
mod request;
mod runtime;
mod seam;
mod shared;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;
mod wait_queue;
mod web;

pub use clock::Moment;
pub use error::{KeyFault, LockError, LostReason, Setting, StoreError, StoreErrorKind};
pub use guard::LockGuard;
pub use holder::{Holder, HolderId, HolderKind, InvalidHolderId};
pub use key::Key;
pub use lease::LeaseHealth;
pub use limits::{
    DEFAULT_CONNECT_TIMEOUT, DEFAULT_NAMESPACE, DEFAULT_RESPONSE_TIMEOUT, DEFAULT_TTL, MAX_KEY_BYTES,
    MAX_TTL, MIN_TTL,
};
pub use manager::{HolderStream, LockManager, LockManagerBuilder, set_default, with_manager};
pub use options::{OnLost, Release};
pub use request::LockRequest;
#[cfg(feature = "cluster")]
pub use store::ClusterStore;
#[cfg(feature = "redis")]
pub use store::RedisStore;
#[cfg(feature = "tls")]
pub use store::Tls;
pub use store::{
    Acquired, Check, CheckState, CheckSubject, ClockDifference, Diagnosis, DiagnosisFuture, Enqueue,
    HandOver, Hint, HintFuture, HolderPages, MemoryStore, NextWaiter, PageFuture, QuorumStore, Right,
    ServerDiagnosis, Store, StoreFuture,
};
pub use token::{FencingToken, OwnerToken};
pub use web::Problem;
#[cfg(feature = "tower")]
pub use web::{LockLayer, LockService};

/// For the attribute's expansion and for the command; not part of the interface.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "redis")]
    pub use crate::store::redis::names_on_server;
    pub use crate::{
        events::{function_not_run, function_skipped, function_stopped},
        manager::{HasManager, current_manager, parse_duration},
    };
}

/// For this repository's simulation; not part of the interface.
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation {
    pub use crate::seam::{
        InLane, live_in, records,
        world::{Connecting, Stream, World},
    };
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
