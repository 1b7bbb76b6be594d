//! Measures distlock beside other Redis locks, all in one run and in turns, on servers that this program
//! starts.
//!
//! ```sh
//! # Everything that has a target, as one table in Markdown; with a number, in so many rounds (9).
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- all
//! # All libraries: the tables, and the chart docs/peers.svg.
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! # These libraries and the yardsticks only, on one server.
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- distlock rslock
//! # Only the 10,000 tasks that wait for one key.
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- crowd
//! # Only 8 tasks that share a key with another library, also with those of benches/peers/others.
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- mixed
//! # Only the order in which 8 processes get a key.
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- order
//! # Only the five servers.
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- quorum
//! # These rows of the table only: free, hand-over, zipf, far, memory or aof; each with a number of rounds.
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- only zipf 3
//! # The instructions of a cycle at the client and at the server, and its allocations, by valgrind.
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- instructions
//! ```
//! `cycles` followed by a library and a number runs that many cycles, for valgrind. With the URL of a server
//! behind it, the cycles run there.

use std::error::Error;

use client::{CONTENDED, UNCONTENDED};
use test_support::RedisServer;

mod all;
mod aof;
mod chart;
mod client;
mod contended;
mod cycles;
mod delay;
mod free_key;
mod instructions;
mod measure;
mod memory;
mod mixed;
mod order;
mod quorum;
mod round_trips;
mod table;
mod turns;
mod uncontended;
mod zipf;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How often each measurement is repeated.
const REPETITIONS: usize = 5;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["worker", name, url, key, tasks, section, pause] => {
            contended::work(name, url, key, [tasks.parse()?, section.parse()?, pause.parse()?])
        }
        ["free", tasks, name, url] => free_key::work(tasks.parse()?, name, url),
        ["one", name, cycles, url] => free_key::one(name, cycles.parse()?, url),
        ["zipf", name, url, seed, start] => zipf::work(name, url, seed.parse()?, start.parse()?),
        ["round-trips", near, far] => round_trips::work(near, far),
        ["memory", what, number, url] => memory::work(what, number.parse()?, url),
        ["renewals", url] => memory::renewals(url),
        ["mixed", name, url, key] => mixed::work(name, url, key),
        ["order", url, body_ms] => order::work(url, body_ms.parse()?),
        ["cycles", name, cycles] => cycles::run(name, cycles.parse()?, None),
        ["cycles", name, cycles, url] => cycles::run(name, cycles.parse()?, Some(url)),
        ["instructions"] => instructions::run(),
        ["all"] => all::run(9),
        ["all", rounds] => all::run(rounds.parse()?),
        ["only", rows, rounds] => all::only(rows, rounds.parse()?),
        ["quorum"] => quorum::run(),
        ["mixed"] => mixed::run(),
        ["order"] => order::run(),
        ["crowd"] => contended::crowd(&RedisServer::start()),
        [] => {
            let server = RedisServer::start();
            let medians = one_server(&UNCONTENDED, &CONTENDED, &server)?;
            contended::crowd(&server)?;
            quorum::run()?;
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/peers.svg");
            let title = "Hand-over of a contended lock, 16 tasks, median (us)";
            Ok(std::fs::write(file, chart::bars(title, &medians))?)
        }
        _ => {
            let is_named = |name: &str| args.contains(&name.split(',').next().unwrap_or_default());
            let uncontended = UNCONTENDED.into_iter().filter(|name| *name == "redis-rs" || is_named(name));
            let contended = CONTENDED.into_iter().filter(|name| *name == "blocking list" || is_named(name));
            let [uncontended, contended] = [uncontended.collect::<Vec<_>>(), contended.collect()];
            one_server(&uncontended, &contended, &RedisServer::start()).map(drop)
        }
    }
}

/// Prints all tables for one server. Returns the median hand-over of each library between four processes.
fn one_server(
    uncontended: &[&str],
    contended: &[&'static str],
    server: &RedisServer,
) -> Outcome<Vec<(&'static str, f64)>> {
    uncontended::latency(uncontended, server)?;
    uncontended::throughput(uncontended, server)?;
    contended::hand_over(contended, server, 1)?;
    contended::hand_over(contended, server, 4)
}
