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

use std::time::Duration;

use tokio::{
    runtime::{Handle, Id, TryCurrentError},
    task::JoinHandle,
};
#[cfg(feature = "redis")]
use uuid::Uuid;

#[cfg(not(feature = "simulation"))]
mod host;
#[cfg(feature = "simulation")]
mod simulated;
pub(crate) mod world;

#[cfg(not(feature = "simulation"))]
use host as place;
#[cfg(feature = "simulation")]
use simulated as place;

#[cfg(feature = "redis")]
pub(crate) use place::PerProcess;
use place::replaced;
pub(crate) use place::{Counted, HashMap, OfThread, spawn};
#[cfg(feature = "simulation")]
pub use simulated::{InLane, live_in, records};
#[cfg(feature = "redis")]
use world::Connecting;
#[cfg(feature = "redis")]
pub(crate) use world::REGISTRATIONS;
use world::World;
pub(crate) use world::{LEASES, WAIT_QUEUES};

/// Runs a task on the current runtime.
///
/// # Panics
/// Outside of a runtime.
pub(crate) fn spawn_here<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    spawn(&Handle::current(), future)
}

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

/// Puts the items into an order by chance.
#[cfg(feature = "cluster")]
pub(crate) fn shuffle<T>(items: &mut [T]) {
    if replaced(|_| ()).is_none() {
        return fastrand::shuffle(items);
    }
    for rest in (1..items.len()).rev() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "few"
        )]
        let other = (fraction() * (rest + 1) as f64) as usize;
        items.swap(rest, other.min(rest));
    }
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
pub(crate) fn stream_to(address: impl FnOnce() -> String) -> Option<Connecting> {
    replaced(|world| world.stream_to(&address()))
}
