//! The faults, in a random order from a seed.

use std::{io, time::Duration};

use fastrand::Rng;
use soak::{
    clock::now,
    fenced_soak::{Nemesis, Record},
    workers::Workers,
};
use test_support::{RedisCluster, Role};
use tokio::time::sleep;

/// A cluster under fire.
pub(crate) struct UnderFire {
    cluster: RedisCluster,
    /// The slots of the keys that the workers lock.
    slots: Vec<u16>,
    /// The servers that were primaries when the cluster had last settled.
    primaries: Vec<usize>,
}

impl UnderFire {
    pub(crate) async fn new(cluster: RedisCluster, keys: u32) -> Self {
        let mut slots = Vec::new();
        for key in 0..keys {
            slots.push(cluster.slot_of(&format!("lock:soak:{key}")).await);
        }
        let primaries = primaries(&cluster.settled().await);
        Self { cluster, slots, primaries }
    }

    /// The keys whose slots this server has.
    async fn keys_of(&self, server: usize) -> Vec<u32> {
        let mut keys = Vec::new();
        for (key, slot) in (0..).zip(&self.slots) {
            if self.cluster.owner_of(*slot, 0).await == Some(server) {
                keys.push(key);
            }
        }
        keys
    }

    /// The replica of a primary.
    async fn replica_of(&self, primary: usize) -> usize {
        for (at, role) in self.cluster.settled().await.into_iter().enumerate() {
            if role == (Role::Replica { of: primary, is_linked: true }) {
                return at;
            }
        }
        panic!("server {primary} has no replica");
    }

    /// Moves the slot of a key to another primary, key by key. Half of the moves stop in their middle for a
    /// while.
    async fn move_slot(&self, random: &mut Rng, a_while: Duration) -> &'static str {
        let slot = self.slots[random.usize(0..self.slots.len())];
        let from = self.cluster.owner_of(slot, 0).await.expect("a server has the slot");
        let others: Vec<_> = self.primaries.iter().copied().filter(|server| *server != from).collect();
        let to = others[random.usize(0..others.len())];
        let halfway = if random.bool() { a_while } else { Duration::ZERO };
        self.cluster.begin_move(slot, from, to).await;
        sleep(halfway / 2).await;
        self.cluster.move_keys(slot, from, to).await;
        sleep(halfway / 2).await;
        self.cluster.move_keys(slot, from, to).await;
        self.cluster.end_move(slot, to).await;
        "slot moved"
    }

    /// Kills a primary, and starts it again when its replica has taken over.
    async fn kill(&mut self, primary: usize) {
        self.cluster.servers_mut()[primary].stop();
        self.cluster.replaced(primary).await;
        self.cluster.servers_mut()[primary].start_again();
    }
}

impl Nemesis for UnderFire {
    async fn strike(
        &mut self,
        random: &mut Rng,
        workers: &mut Workers,
        record: &Record,
    ) -> io::Result<&'static str> {
        let a_while = Duration::from_millis(random.u64(30..1000));
        let worker = workers.any(random);
        let primary = self.primaries[random.usize(0..3)];
        let start = now();
        let mut planned = self.primaries.clone();
        let replica = self.replica_of(primary).await;
        let mut replaces = || planned.iter_mut().filter(|at| **at == primary).for_each(|at| *at = replica);
        let fault = match random.u8(0..16) {
            0..=3 => self.move_slot(random, a_while).await,
            4 | 5 => {
                replaces();
                self.cluster.fail_over_to(replica).await;
                "planned failover"
            }
            6 => {
                let is_complete = self.cluster.replica_catches_up(primary, replica).await;
                let keys = self.keys_of(primary).await;
                replaces();
                self.cluster.servers_mut()[primary].stop();
                if is_complete {
                    self.kill(primary).await;
                    "primary killed, its replica complete"
                } else {
                    record.forgot(keys, start)?;
                    self.kill(primary).await;
                    "primary killed"
                }
            }
            7 => {
                let keys = self.keys_of(primary).await;
                replaces();
                self.cluster.servers_mut()[primary].stop();
                record.forgot(keys, start)?;
                self.kill(primary).await;
                "primary killed"
            }
            8 => {
                let keys = self.keys_of(primary).await;
                replaces();
                self.cluster.servers()[primary].pause();
                self.cluster.replaced(primary).await;
                sleep(a_while).await;
                self.cluster.servers()[primary].resume();
                self.cluster.settled().await;
                record.forgot(keys, start)?;
                "primary hangs and is replaced"
            }
            9 => {
                let keys = self.keys_of(primary).await;
                replaces();
                self.cluster.cut_off(primary);
                self.cluster.replaced(primary).await;
                sleep(a_while).await;
                self.cluster.join_again();
                self.cluster.settled().await;
                record.forgot(keys, start)?;
                "primary cut off and replaced"
            }
            10 => {
                self.cluster.servers()[primary].pause();
                sleep(a_while / 2).await;
                self.cluster.servers()[primary].resume();
                "primary hangs for a moment"
            }
            11 => {
                self.cluster.servers_mut()[replica].stop();
                sleep(a_while).await;
                self.cluster.servers_mut()[replica].start_again();
                "replica killed"
            }
            12 => {
                self.cluster.cut_off_from_clients(primary);
                sleep(a_while).await;
                self.cluster.join_again();
                "primary cut off from its clients"
            }
            13 => {
                self.cluster.servers()[primary].command::<()>(&["SCRIPT", "FLUSH"]).await;
                "scripts flushed"
            }
            14 => {
                workers.pause(worker, a_while).await;
                "worker paused"
            }
            _ => {
                workers.replace(worker)?;
                "worker killed"
            }
        };
        // A server that gets no processor may be replaced although no fault asked for it.
        planned.sort_unstable();
        self.primaries = primaries(&self.cluster.settled().await);
        if self.primaries == planned {
            return Ok(fault);
        }
        record.forgot((0..).take(self.slots.len()), start)?;
        Ok("failover that nobody asked for")
    }

    /// Locks that are left, and keys that would stay for good. The fencing counters stay for days.
    async fn left(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        for primary in &self.primaries {
            let server = &self.cluster.servers()[*primary];
            for key in server.keys().await {
                let ttl: i64 = server.command(&["PTTL", &key]).await;
                if !key.contains('\u{1f}') || ttl == -1 {
                    left.push(format!("{} for {ttl} ms", key.escape_debug()));
                }
            }
        }
        left
    }
}

/// The places of the primaries, in order.
fn primaries(roles: &[Role]) -> Vec<usize> {
    (0..roles.len()).filter(|at| roles[*at] == Role::Primary).collect()
}
