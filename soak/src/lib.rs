//! The records that the two soaks write, and the checkers of these records.
//!
//! ```sh
//! cargo run --release -p soak -- --minutes 10 --seed 7                     # one server
//! cargo run --release -p soak --bin quorum_soak -- --minutes 10 --seed 7   # five servers
//! ```

pub mod clock;
pub mod history;
pub mod options;
pub mod quorum_history;
