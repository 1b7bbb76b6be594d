//! A lock that ends in any way leaves nothing on the server.

mod cancellation;
mod nothing_leaks;
mod runtimes;
