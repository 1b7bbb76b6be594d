//! What is logged: each event of the table in `docs/operations.md`, and the two spans of a call.

use std::{future::Future, time::Duration};

use tokio::runtime::Builder;

mod health;
mod memory;
mod outages;
mod recorder;
mod secrets;
mod servers;
mod spans;
mod table;
mod wavering_store;

const SOON: Duration = Duration::from_secs(5);

/// Runs a future on one thread, which is the recorder's.
fn run<F: Future>(future: F) -> F::Output {
    recorder::ensure_interest();
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Runs a future in paused time. It must not use a server.
fn run_paused<F: Future>(future: F) -> F::Output {
    recorder::ensure_interest();
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(future)
}
