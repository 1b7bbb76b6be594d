//! The soak on a quorum: worker processes take fenced locks on five Redis servers that are killed, emptied,
//! paused and disconnected, and write to a resource that refuses stale fencing tokens. Then the record of all
//! grants and sections is checked.
//!
//! ```sh
//! cargo run --release -p soak --bin quorum_soak -- --minutes 10 --seed 7
//! ```
//! The program starts its own `redis-server`s, which lose their data when they restart. The program ends with
//! exit code 1 if two grants share a fencing token, a later grant has a lower token, two sections overlap, a
//! worker fails, or a key is not granted after the faults have stopped.

use std::{
    io,
    process::ExitCode,
    time::{Duration, Instant},
};

use soak::{
    Outcome,
    fenced_soak::{self, Nemesis, Record, Setup},
    fenced_worker::Load,
    workers::Workers,
};
use test_support::{Proxy, RedisServer};

const NODES: usize = 5;
const TTL: Duration = Duration::from_millis(600);

#[tokio::main]
async fn main() -> ExitCode {
    fenced_soak::main("quorum_soak", run).await
}

async fn run(duration: Duration, seed: u64) -> Outcome<bool> {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        let server = RedisServer::start();
        let proxy = Proxy::to(server.port()).await;
        nodes.push(Node { server, proxy, emptied: None });
    }
    let hosts: Vec<_> = nodes
        .iter()
        .map(|node| node.proxy.url().trim_start_matches("redis://").trim_end_matches('/').to_owned())
        .collect();
    let settings = "ttl=600ms&restart_delay=600ms&response_timeout=200ms";
    let setup = Setup {
        name: "quorum_soak",
        servers: format!("{NODES} servers"),
        url: format!("redlock://{}/?{settings}", hosts.join(",")),
        workers: 4,
        load: Load { keys: 2, fenced: 2, long_ttl: TTL, ttl: TTL, patience: Duration::from_millis(400) },
        longest_pause: Duration::from_millis(300),
        service: Duration::from_secs(20),
        // A node that has restarted may be left out for a ttl, and for two seconds more because it tells its
        // uptime in whole seconds.
        peace: Duration::from_secs(4),
    };
    fenced_soak::run(setup, &mut Nodes(nodes), duration, seed).await
}

struct Node {
    server: RedisServer,
    proxy: Proxy,
    /// When the server last lost its data. Set by `strike`.
    emptied: Option<Instant>,
}

struct Nodes(Vec<Node>);

impl Nemesis for Nodes {
    async fn strike(
        &mut self,
        random: &mut fastrand::Rng,
        workers: &mut Workers,
        _record: &Record,
    ) -> io::Result<&'static str> {
        strike(random, &mut self.0, workers).await
    }

    /// Releases may be lost with a node's connection, and are sent again until the ttl is over.
    async fn left(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        for node in &self.0 {
            left.extend(node.server.keys().await.into_iter().filter(|key| !key.contains('\u{1f}')));
        }
        left
    }
}

/// Causes one fault, of at most a minority of the nodes, ends it, and returns its name.
async fn strike(
    random: &mut fastrand::Rng,
    nodes: &mut [Node],
    workers: &mut Workers,
) -> std::io::Result<&'static str> {
    let a_while = Duration::from_millis(random.u64(30..1500));
    let worker = workers.any(random);
    let struck = random.choose_multiple(0..nodes.len(), random.clone().usize(1..=nodes.len() / 2));
    let one = struck[0];
    Ok(match random.u8(0..9) {
        0 => {
            for node in &struck {
                nodes[*node].server.pause();
            }
            tokio::time::sleep(a_while).await;
            for node in &struck {
                nodes[*node].server.resume();
            }
            "servers paused"
        }
        // While a node that came back empty is left out, no other may lose its data: with two such nodes of
        // five, a key could be granted a second time.
        1 | 2 if nodes.iter().all(|node| node.emptied.is_none_or(|at| at.elapsed() > TTL * 2)) => {
            nodes[one].server.stop();
            if random.bool() {
                tokio::time::sleep(a_while).await;
            }
            nodes[one].server.restart();
            nodes[one].emptied = Some(Instant::now());
            "server killed, back empty"
        }
        1 | 2 => {
            for node in &struck {
                nodes[*node].proxy.cut();
            }
            "connections cut"
        }
        3 => {
            for node in &struck {
                nodes[*node].proxy.let_requests_flow(false);
            }
            tokio::time::sleep(a_while).await;
            for node in &struck {
                nodes[*node].proxy.let_requests_flow(true);
            }
            "requests delayed"
        }
        4 => {
            for node in &struck {
                nodes[*node].proxy.let_replies_flow(false);
            }
            tokio::time::sleep(a_while).await;
            for node in struck {
                nodes[node].proxy.cut();
                nodes[node].proxy.let_replies_flow(true);
            }
            "replies lost"
        }
        5 => {
            for node in &struck {
                nodes[*node].proxy.lose_requests();
            }
            tokio::time::sleep(a_while).await;
            for node in struck {
                nodes[node].proxy.cut();
                nodes[node].proxy.let_requests_flow(true);
            }
            "requests lost"
        }
        6 => {
            for node in &struck {
                nodes[*node].proxy.strand();
            }
            "connections stranded"
        }
        7 => {
            workers.pause(worker, a_while).await;
            "worker paused"
        }
        _ => {
            workers.replace(worker)?;
            "worker killed"
        }
    })
}
