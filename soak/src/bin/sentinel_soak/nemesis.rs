//! The faults, in a random order from a seed.

use std::{fmt, io, time::Duration};

use fastrand::Rng;
use soak::{
    clock::now,
    fenced_soak::{Nemesis, Record},
    workers::Workers,
};
use test_support::Watched;
use tokio::time::sleep;

/// How many keys the record is told of.
const ALL_KEYS: u32 = 100;

/// What the clients and servers do against failovers that forget leases.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settings {
    None,
    Replicas,
    FailoverDelay,
}

impl Settings {
    /// The settings that a seed chooses.
    pub(crate) fn of(seed: u64) -> Self {
        [Self::FailoverDelay, Self::Replicas, Self::None][usize::try_from(seed % 3).unwrap_or_default()]
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no settings",
            Self::Replicas => "replicas = 2",
            Self::FailoverDelay => "failover_delay",
        })
    }
}

/// A primary under fire, with its replicas and its sentinels.
pub(crate) struct Service {
    watched: Watched,
    settings: Settings,
}

impl Service {
    pub(crate) fn new(watched: Watched, settings: Settings) -> Self {
        Self { watched, settings }
    }

    /// Waits until another server is the primary in place of this one, and makes this one a replica.
    async fn is_replaced(&self, primary: usize, a_while: Duration, comes_back: impl FnOnce(&Watched)) {
        let next = self.watched.replaced(primary).await;
        sleep(a_while).await;
        comes_back(&self.watched);
        self.watched.follow(primary, next).await;
    }
}

impl Nemesis for Service {
    async fn strike(
        &mut self,
        random: &mut Rng,
        workers: &mut Workers,
        record: &Record,
    ) -> io::Result<&'static str> {
        let a_while = Duration::from_millis(random.u64(30..1000));
        let worker = workers.any(random);
        let start = now();
        let primary = self.watched.settled().await;
        let replica = (primary + random.usize(1..3)) % 3;
        let fault = match random.u8(0..12) {
            0 | 1 => {
                self.watched.fail_over().await;
                "failover by order"
            }
            2 | 3 => {
                self.watched.servers[primary].stop();
                let next = self.watched.replaced(primary).await;
                self.watched.servers[primary].start_again();
                self.watched.follow(primary, next).await;
                "primary killed"
            }
            4 => {
                self.watched.servers[primary].pause();
                let resume = |watched: &Watched| watched.servers[primary].resume();
                self.is_replaced(primary, a_while, resume).await;
                "primary hangs and is replaced"
            }
            5 | 6 => {
                self.watched.cut_off(primary);
                self.is_replaced(primary, a_while, Watched::join_again).await;
                "primary cut off and replaced"
            }
            7 if self.settings == Settings::FailoverDelay => {
                self.watched.servers[primary].restart();
                "primary killed, back at once and empty"
            }
            7 => {
                self.watched.servers[primary].pause();
                sleep(a_while / 2).await;
                self.watched.servers[primary].resume();
                "primary hangs for a moment"
            }
            8 => {
                self.watched.servers[replica].stop();
                sleep(a_while).await;
                self.watched.servers[replica].start_again();
                self.watched.follow(replica, primary).await;
                "replica killed"
            }
            9 => {
                self.watched.cut_off_from_clients(primary);
                sleep(a_while).await;
                self.watched.join_again();
                "primary cut off from its clients"
            }
            10 => {
                workers.pause(worker, a_while).await;
                "worker paused"
            }
            _ => {
                workers.replace(worker)?;
                "worker killed"
            }
        };
        let is_another = self.watched.settled().await != primary;
        if is_another && self.settings == Settings::None {
            record.forgot(0..ALL_KEYS, start)?;
        }
        Ok(fault)
    }

    /// Locks that are left, and keys that would stay for good. The fencing counters and the records of
    /// failovers stay for longer.
    async fn left(&mut self) -> Vec<String> {
        let primary = self.watched.settled().await;
        let server = &self.watched.servers[primary];
        let mut left = Vec::new();
        for key in server.keys().await {
            let ttl: i64 = server.command(&["PTTL", &key]).await;
            if !key.contains('\u{1f}') || ttl == -1 {
                left.push(format!("{} for {ttl} ms", key.escape_debug()));
            }
        }
        left
    }
}
