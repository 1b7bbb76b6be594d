//! Distributed locks in one line.
#![forbid(unsafe_code)]

pub use distlock_core::*;
pub use distlock_macros::distributed_lock;

#[doc(hidden)]
pub mod __private;
