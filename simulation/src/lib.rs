//! Several processes of distlock, one Redis server and the network between them, in virtual time.
//!
//! The client is the real one: distlock-core, redis-rs's multiplexed connection, and the scripts that they
//! send. The server runs these scripts in Lua 5.1. Chance, clocks, tasks and connections come from one seed,
//! so that a schedule that has failed can be run again, step by step.
//!
//! From the bottom up:
//! - [`chance`] draws numbers, [`server`] is the server.
//! - [`network`] carries bytes, and has the server's clock and faults.
//! - [`hosts`] are the hosts with their processes and lanes.
//! - [`plan`] draws a schedule: calls and faults.
//! - [`history`] notes what happens, and [`check`] judges it.
//! - [`run`] runs a schedule.
#![expect(missing_docs, reason = "fields and variants have the names of what they hold")]

/// A fifth of the time went into the allocator of the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod chance;
pub mod check;
pub mod history;
pub mod hosts;
pub mod network;
pub mod plan;
pub mod run;
pub mod server;
