//! What the tests, the soaks and the benchmarks of distlock share: real Redis servers, a proxy in front of
//! them, and bounded waiting.
//!
//! The crate does not depend on distlock: a change of distlock does not rebuild it.

mod cluster_faults;
mod example;
mod gate;
mod proxy;
mod redis_cluster;
mod redis_server;
mod rewriting_proxy;
mod sentinels;
mod wait;

pub use cluster_faults::Role;
pub use example::example;
pub use gate::Gate;
pub use proxy::Proxy;
pub use redis_cluster::RedisCluster;
pub use redis_server::{RedisServer, free_port};
pub use rewriting_proxy::{RewritingProxy, Words};
pub use sentinels::Watched;
pub use wait::{eventually, in_time};
