//! Where leases live: the contract of a store, and the stores that keep it.
//!
//! - [`contract`] is the trait, [`hand_over`] has the types of its waiting half, [`listing`] reads many
//!   holders, [`diagnosis`] says what its servers are like, [`pointers`] implements it for `Arc` and `Box`.
//! - [`retry`] sends a command once more after a broken connection, for all who send commands.
//! - [`memory`], [`redis`](self::redis) and [`quorum`] are the stores.

mod contract;
pub(crate) mod diagnosis;
mod hand_over;
mod listing;
mod memory;
mod pointers;
mod quorum;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod retry;

pub use contract::{Acquired, DiagnosisFuture, Store, StoreFuture};
pub use diagnosis::{Check, CheckState, CheckSubject, ClockDifference, Diagnosis, Right, ServerDiagnosis};
pub use hand_over::{Enqueue, HandOver, Hint, HintFuture, NextWaiter};
pub use listing::{HolderPages, PageFuture};
pub use memory::MemoryStore;
pub use quorum::QuorumStore;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[cfg(feature = "tls")]
pub use redis::Tls;
#[cfg(feature = "cluster")]
pub use redis::cluster::ClusterStore;
