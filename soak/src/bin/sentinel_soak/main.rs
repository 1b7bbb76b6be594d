//! The soak behind sentinels: worker processes take locks, with and without fencing tokens, on a primary with
//! two replicas, while sentinels fail it over, and servers are killed, hang and are cut off. Then the record
//! of all grants and sections is checked.
//!
//! ```sh
//! cargo run --release -p soak --bin sentinel_soak -- --minutes 10 --seed 7
//! ```
//! The program starts its own `redis-server`s. The program ends with exit code 1 if two grants share a
//! fencing token, a later grant has a lower token, two sections overlap, a call that waits gives up early, a
//! worker fails, a key is not granted after the faults have stopped, or something is left on the servers.
//!
//! The seed chooses the settings. Without any, a failover forgets what the replica did not receive, and a
//! primary that is cut off grants leases that are forgotten: leases that a failover may have forgotten are
//! not counted then, up to the time when a process must have learned of it. With `replicas` for all replicas,
//! or with `failover_delay` as docs/operations.md has it, every section counts. Fencing tokens rise in any
//! case.

use std::{process::ExitCode, time::Duration};

use soak::{
    Outcome,
    fenced_soak::{self, Setup},
    fenced_worker::Load,
};
use test_support::Watched;

mod nemesis;

use nemesis::{Service, Settings};

const TTL: Duration = Duration::from_millis(600);
/// The longest time for which a primary that no replica answers takes writes, in seconds.
const LAG: u64 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    fenced_soak::main("sentinel_soak", run).await
}

async fn run(duration: Duration, seed: u64) -> Outcome<bool> {
    let settings = Settings::of(seed);
    let lag = LAG.to_string();
    let (of_servers, of_clients): (&[&str], _) = match settings {
        Settings::None => (&[], "response_timeout=300ms".to_owned()),
        // A call waits for replicas for half of the time-out.
        Settings::Replicas => (&[], "replicas=2&response_timeout=600ms".to_owned()),
        Settings::FailoverDelay => {
            let delay = TTL + Duration::from_secs(LAG);
            let of_clients =
                format!("failover_delay={}ms&ttl=600ms&response_timeout=300ms", delay.as_millis());
            (&["--min-replicas-to-write", "1", "--min-replicas-max-lag", &lag], of_clients)
        }
    };
    let watched = Watched::start_with_gates(of_servers).await;
    // No ttl is above the delay.
    let long_ttl = if settings == Settings::FailoverDelay { TTL } else { Duration::from_secs(3) };
    let setup = Setup {
        name: "sentinel_soak",
        servers: format!("a primary with 2 replicas, 3 sentinels, {settings}"),
        url: format!("{}?{of_clients}", watched.url()),
        workers: 3,
        load: Load { keys: 6, fenced: 3, long_ttl, ttl: TTL, patience: Duration::from_secs(60) },
        longest_pause: Duration::from_millis(400),
        // Each failover may be followed by a failover delay.
        service: Duration::from_secs(if settings == Settings::FailoverDelay { 50 } else { 20 }),
        // A failover delay may have begun with the last fault.
        peace: Duration::from_secs(4),
    };
    fenced_soak::run(setup, &mut Service::new(watched, settings), duration, seed).await
}
