//! The soak on a cluster: worker processes take locks, with and without fencing tokens, on three primaries
//! with a replica each, while slots move and servers fail, step down, hang and are cut off. Then the record
//! of all grants and sections is checked.
//!
//! ```sh
//! cargo run --release -p soak --bin cluster_soak -- --minutes 10 --seed 7
//! ```
//! The program starts its own `redis-server`s. The program ends with exit code 1 if two grants share a
//! fencing token, a later grant has a lower token, two sections overlap, a call that waits gives up early, a
//! worker fails, a key is not granted after the faults have stopped, or something is left on the servers.
//!
//! A failover forgets what the replica did not receive, and a primary that is cut off grants leases that are
//! forgotten. So the leases of a primary that was killed without notice, that hung, or that was cut off are
//! not counted, up to the time when a process must have learned of it. Fencing tokens rise in any case. A
//! primary whose replica had everything forgets nothing, and neither does a move of a slot or a planned
//! failover.

use std::{process::ExitCode, time::Duration};

use soak::{
    Outcome,
    fenced_soak::{self, Setup},
    fenced_worker::Load,
};
use test_support::RedisCluster;

mod nemesis;

use nemesis::UnderFire;

const LOAD: Load = Load {
    keys: 9,
    fenced: 5,
    // Longer than most failovers.
    long_ttl: Duration::from_secs(3),
    ttl: Duration::from_millis(600),
    patience: Duration::from_secs(60),
};

#[tokio::main]
async fn main() -> ExitCode {
    fenced_soak::main("cluster_soak", run).await
}

async fn run(duration: Duration, seed: u64) -> Outcome<bool> {
    // A server that gets no processor for a second must not pass for failed.
    let cluster =
        tokio::task::spawn_blocking(|| RedisCluster::start_with_gates(&["--cluster-node-timeout", "1500"]));
    let cluster = cluster.await?;
    let setup = Setup {
        name: "cluster_soak",
        servers: "3 primaries with a replica each".to_owned(),
        url: format!("{}?response_timeout=300ms", cluster.url()),
        workers: 3,
        load: LOAD,
        longest_pause: Duration::from_millis(400),
        service: Duration::from_secs(20),
        peace: LOAD.long_ttl + Duration::from_secs(1),
    };
    let mut cluster = UnderFire::new(cluster, LOAD.keys).await;
    fenced_soak::run(setup, &mut cluster, duration, seed).await
}
