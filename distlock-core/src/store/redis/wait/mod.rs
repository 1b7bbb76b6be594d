//! Waiting on the server.

pub(super) mod channel;
mod tracking;
