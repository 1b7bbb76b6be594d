//! Servers and callers that do something wrong: a typed error in a bounded time.

mod errors;
mod servers;
