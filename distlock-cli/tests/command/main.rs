//! The command `distlock`, as its users start it: real processes against real servers.

mod cases;
mod doctor;
mod holders;
#[cfg(target_os = "linux")]
mod many_keys;
mod process;
mod run_endings;
mod run_loss;
#[cfg(target_os = "linux")]
mod run_nemesis;
mod run_signals;
mod run_terminal;
mod terminal;
mod top;
mod topologies;
mod ui;
mod usage;

use std::time::Duration;

/// Longer than anything takes that should happen at once.
const SOON: Duration = Duration::from_secs(20);
