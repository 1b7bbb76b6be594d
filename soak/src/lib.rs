//! The records that the soaks write, the checkers of these records, and what the soaks on several servers
//! share.
//!
//! ```sh
//! cargo run --release -p soak -- --minutes 10 --seed 7                       # one server
//! cargo run --release -p soak --bin quorum_soak -- --minutes 10 --seed 7     # five servers
//! cargo run --release -p soak --bin cluster_soak -- --minutes 10 --seed 7    # a cluster with replicas
//! cargo run --release -p soak --bin sentinel_soak -- --minutes 10 --seed 7   # behind sentinels
//! ```

use std::error::Error;

pub mod clock;
pub mod fenced_history;
pub mod fenced_soak;
pub mod fenced_worker;
pub mod history;
pub mod options;
pub mod workers;

/// The result of a part of a soak.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;
