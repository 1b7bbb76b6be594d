//! Chance, clocks, tasks and connections: the one place at which a simulation replaces them.
//!
//! With the feature `simulation`, which is not part of the interface, a thread can be given a [`World`]. Each
//! function here asks the world of its thread first. Without the feature there is no world to ask, and what
//! is left is the host's own function.
//!
//! A simulation has many processes on one thread, and several runtimes in each. A **lane** is one runtime of
//! one process. Each task belongs to the lane that spawned it, and the world decides whether it may run.
// What only a world needs is unused without one.
#![cfg_attr(not(feature = "simulation"), allow(dead_code, unreachable_pub))]

use std::{io, pin::Pin, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::{Handle, Id, TryCurrentError},
};
#[cfg(feature = "redis")]
use uuid::Uuid;

#[cfg(not(feature = "simulation"))]
mod host;
#[cfg(feature = "simulation")]
mod simulated;

#[cfg(not(feature = "simulation"))]
use host as place;
#[cfg(feature = "simulation")]
use simulated as place;

#[cfg(feature = "redis")]
pub(crate) use place::PerProcess;
use place::replaced;
pub(crate) use place::{Counted, HashMap, spawn};
#[cfg(feature = "simulation")]
pub use simulated::{InLane, live_in, records};

/// What is [counted](Counted), and has to be gone when nobody locks any more.
const KINDS: [&str; 3] = ["leases", "wait queues", "registered waiters"];
pub(crate) const LEASES: usize = 0;
pub(crate) const WAIT_QUEUES: usize = 1;
#[cfg(feature = "redis")]
pub(crate) const REGISTRATIONS: usize = 2;

/// What a simulation has in place of the host.
pub trait World {
    /// Fills the buffer by chance.
    fn fill_random(&self, bytes: &mut [u8]);
    /// A number by chance, from 0 up to but without 1.
    fn fraction(&self) -> f64;
    /// The id of the process that runs now.
    fn process_id(&self) -> u32;
    /// For how long the host has been suspended.
    fn suspended(&self) -> Duration;
    /// The time of day, in microseconds since 1970.
    fn wall_clock(&self) -> u64;
    /// The lane that runs now.
    fn lane(&self) -> u64;
    /// Lets a lane run until [`leave`](Self::leave), and answers which one ran before; `None` if the lane may
    /// not run now, so that the waker is called when it may.
    fn enter(&self, lane: u64, waker: &std::task::Waker) -> Option<u64>;
    /// Lets a lane run although it may be stopped: one of its tasks is dropped. Answers which one ran before.
    fn enter_to_drop(&self, lane: u64) -> u64;
    /// Lets the lane run that ran before.
    fn leave(&self, before: u64);
    /// Connects to a server.
    fn connect(&self, address: &str) -> Connecting;
}

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// What redis-rs needs of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Tells one runtime from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RuntimeId {
    id: Id,
    #[cfg(feature = "simulation")]
    lane: Option<u64>,
}

impl RuntimeId {
    /// The id of this runtime, of which the current task is one.
    pub(crate) fn of(runtime: &Handle) -> Self {
        Self {
            id: runtime.id(),
            #[cfg(feature = "simulation")]
            lane: replaced(World::lane),
        }
    }

    /// The id of the current runtime.
    ///
    /// # Errors
    /// When there is no current runtime.
    pub(crate) fn current() -> Result<Self, TryCurrentError> {
        Handle::try_current().map(|runtime| Self::of(&runtime))
    }
}

/// Fills the buffer from the system's random source. Answers whether that worked.
pub(crate) fn fill_random(bytes: &mut [u8]) -> bool {
    replaced(|world| world.fill_random(bytes)).is_some() || getrandom::fill(bytes).is_ok()
}

/// A random UUID v4.
#[cfg(feature = "redis")]
pub(crate) fn random_uuid() -> Uuid {
    let mut bytes = [0; 16];
    let filled = replaced(|world| world.fill_random(&mut bytes));
    filled.map_or_else(Uuid::new_v4, |()| uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// A number by chance, from 0 up to but without 1.
pub(crate) fn fraction() -> f64 {
    replaced(World::fraction).unwrap_or_else(fastrand::f64)
}

/// The id of this process.
pub(crate) fn process_id() -> u32 {
    place::process_in_world().unwrap_or_else(std::process::id)
}

/// For how long the host has been suspended, in a simulation.
pub(crate) fn suspended() -> Option<Duration> {
    replaced(World::suspended)
}

/// The time of day in microseconds since 1970, in a simulation.
pub(crate) fn wall_clock() -> Option<u64> {
    replaced(World::wall_clock)
}

/// A connection to a server, in a simulation.
#[cfg(feature = "redis")]
pub(crate) fn connect(address: impl FnOnce() -> String) -> Option<Connecting> {
    replaced(|world| world.connect(&address()))
}
