//! What a simulation has in place of the host.

use std::{io, pin::Pin, time::Duration};

use tokio::io::{AsyncRead, AsyncWrite};

/// What is counted, and has to be gone when nobody locks any more.
pub(super) const KINDS: [&str; 3] = ["leases", "wait queues", "registered waiters"];
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
    /// The process of which the one that runs now is the child of a fork: it begins with a copy of what its
    /// parent's thread keeps.
    fn parent(&self) -> Option<u32>;
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
    fn stream_to(&self, address: &str) -> Connecting;
}

/// A connection that is being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// What redis-rs needs of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}
