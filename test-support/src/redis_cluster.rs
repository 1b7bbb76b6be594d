//! Real Redis clusters.

use std::{
    net::IpAddr,
    sync::Mutex,
    thread::sleep,
    time::{Duration, Instant},
};

use redis::FromRedisValue;

use crate::{
    Gate, RedisServer, Role,
    redis_server::{cluster_ports, free_port, is_redis_7},
};

/// How many hash slots a cluster has.
const SLOTS: u16 = 1 << 14;
/// How long a cluster may take to become ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// How clients and other servers reach a server of a cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Tls,
    /// Through gates, which can be closed.
    Gates,
}

/// A Redis cluster on free ports: primaries that share the slots evenly, and perhaps a replica of each. Its
/// servers end like every [`RedisServer`].
pub struct RedisCluster {
    primaries: usize,
    pub(crate) servers: Vec<RedisServer>,
    /// The ports by which the servers name each other to clients: those with TLS, or of gates, if there are
    /// some.
    ports: Vec<u16>,
    /// For each server the ways to its port and to its bus, if the cluster has gates.
    pub(crate) gates: Vec<[Gate; 2]>,
    /// A server that is suspended because it cannot be cut off. Set and cleared by the functions for that.
    pub(crate) suspended: Mutex<Option<usize>>,
}

impl RedisCluster {
    /// Starts three primaries without replicas, and waits until they serve all slots.
    ///
    /// # Panics
    ///
    /// If the cluster does not start.
    pub fn start() -> Self {
        Self::start_with(&[], false)
    }

    /// Starts three primaries with a replica each, and waits until they serve all slots and every replica has
    /// its primary's data. A primary that does not answer for a second is replaced by its replica.
    ///
    /// # Panics
    ///
    /// If the cluster does not start.
    pub fn start_with_replicas() -> Self {
        Self::start_with(&["--repl-diskless-sync-delay", "0"], true)
    }

    /// Like [`start`](Self::start), with more command-line settings for each server, and with replicas if
    /// asked for.
    ///
    /// # Panics
    ///
    /// If the cluster does not start.
    pub fn start_with(settings: &[&str], replicas: bool) -> Self {
        Self::start_in(settings, replicas, Way::Plain)
    }

    /// Starts three primaries that take clients with TLS and speak TLS to each other, with these settings of
    /// their certificates. The test itself reaches them without TLS.
    ///
    /// # Panics
    ///
    /// If the cluster does not start.
    pub fn start_with_tls(settings: &[&str]) -> Self {
        Self::start_in(settings, false, Way::Tls)
    }

    /// Like [`start_with_replicas`](Self::start_with_replicas), with more settings for each server, and with
    /// gates: a server can be [cut off](Self::cut_off). Needs a tokio runtime.
    ///
    /// # Panics
    ///
    /// If the cluster does not start.
    pub fn start_with_gates(settings: &[&str]) -> Self {
        let all: Vec<_> = ["--repl-diskless-sync-delay", "0"].iter().chain(settings).copied().collect();
        Self::start_in(&all, true, Way::Gates)
    }

    fn start_in(settings: &[&str], replicas: bool, way: Way) -> Self {
        let (has_gates, by_tls) = (way == Way::Gates, way == Way::Tls);
        let primaries = 3;
        let count = if replicas { 2 * primaries } else { primaries };
        // Ports are given out once in a process, and another process rarely takes one in between.
        let ports: Vec<_> = (0..count).map(|_| cluster_ports()).collect();
        let gate = |(port, bus): &(u16, u16)| [Gate::to(*port), Gate::to(*bus)];
        let gates: Vec<_> = ports.iter().filter(|_| has_gates).map(gate).collect();
        let ways = gates.iter().map(|[port, bus]| (port.port(), bus.port())).collect();
        // What the servers tell each other and their clients.
        let told: Vec<_> = if has_gates { ways } else { ports.clone() };
        let server = |at: usize| {
            let (port, bus) = ports[at];
            let (bus, tls_port, source) = (bus.to_string(), port.to_string(), source(at).to_string());
            let port = if by_tls { free_port() } else { port };
            let (told_port, told_bus) = (told[at].0.to_string(), told[at].1.to_string());
            let mut all = vec!["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"];
            all.extend(["--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"]);
            if is_redis_7() {
                all.extend(["--cluster-port", &bus]);
            }
            if by_tls {
                all.extend(["--tls-port", &tls_port, "--tls-cluster", "yes", "--tls-replication", "yes"]);
            }
            if has_gates {
                if is_redis_7() {
                    all.extend(["--bind-source-addr", &source]);
                }
                all.extend(["--cluster-announce-ip", "127.0.0.1"]);
                all.extend(["--cluster-announce-port", &told_port, "--cluster-announce-bus-port", &told_bus]);
            }
            all.extend(settings);
            RedisServer::start_at(port, &all, Some(("nodes.conf", nodes(&told, primaries, at))))
        };
        let servers = (0..count).map(server).collect();
        let ports = told.iter().map(|(port, _)| *port).collect();
        let cluster = Self { primaries, servers, ports, gates, suspended: Mutex::default() };
        cluster.wait_until_ready();
        cluster
    }

    fn wait_until_ready(&self) {
        let end = Instant::now() + PATIENCE;
        let is_ready = |server: &RedisServer| {
            let info: String = ask(server, &["CLUSTER", "INFO"])?;
            let replication: String = ask(server, &["INFO", "replication"])?;
            let has_data =
                replication.contains("role:master") || replication.contains("master_link_status:up");
            Some(info.contains("cluster_state:ok") && has_data)
        };
        while !self.servers.iter().all(|server| is_ready(server).unwrap_or(false)) {
            assert!(Instant::now() < end, "the cluster is not ready after {PATIENCE:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Returns `redis-cluster://` with the addresses of the primaries. Their ports are those with TLS if
    /// there are some.
    pub fn url(&self) -> String {
        let ports = &self.ports[..self.primaries];
        let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// The port that a server tells its clients.
    pub(crate) fn told_port(&self, at: usize) -> u16 {
        self.ports[at]
    }

    /// Returns the `redis://` URLs of the primaries.
    pub fn urls(&self) -> Vec<String> {
        self.primaries().map(RedisServer::url).collect()
    }

    /// Returns the servers that were primaries at the start.
    pub fn primaries(&self) -> impl Iterator<Item = &RedisServer> {
        self.servers[..self.primaries].iter()
    }

    /// Returns all servers: the primaries, and after them their replicas in the same order.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// Returns all servers, to stop and restart them.
    pub fn servers_mut(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    /// Returns the place, among the [servers](Self::servers), of the primary that had the slot at the start.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    pub fn first_owner_of(&self, slot: u16) -> usize {
        (0..self.primaries).find(|at| range(*at, self.primaries).contains(&slot)).expect("a slot")
    }

    /// Returns the hash slot of a Redis key, as a server calculates it.
    ///
    /// # Panics
    ///
    /// If the first server does not answer.
    pub async fn slot_of(&self, key: &str) -> u16 {
        self.servers[0].command(&["CLUSTER", "KEYSLOT", key]).await
    }

    /// Returns a name that begins with `prefix`, and with which `lock:name` is in a slot of this primary.
    ///
    /// # Panics
    ///
    /// If the first server does not answer.
    pub async fn name_at(&self, prefix: &str, primary: usize) -> String {
        for number in 0.. {
            let name = format!("{prefix}{number}");
            if self.first_owner_of(self.slot_of(&format!("lock:{name}")).await) == primary {
                return name;
            }
        }
        unreachable!("a primary has a third of all slots")
    }

    /// Returns the cluster's name of a server.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn id_of(&self, server: usize) -> String {
        self.servers[server].command(&["CLUSTER", "MYID"]).await
    }

    /// Begins to move a slot in the old way, key by key: from now on, new keys of the slot are made at the
    /// target.
    ///
    /// # Panics
    ///
    /// If a server does not answer.
    pub async fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (self.id_of(from).await, self.id_of(to).await);
        let slot = slot.to_string();
        self.servers[to].command::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]).await;
        self.servers[from].command::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]).await;
    }

    /// Moves one key to the target of a move.
    ///
    /// # Panics
    ///
    /// If a server does not answer.
    pub async fn move_key(&self, key: &str, from: usize, to: usize) {
        let port = self.servers[to].port().to_string();
        // `NOKEY` if the key has lapsed in the meantime.
        let moved: String =
            self.servers[from].command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await;
        assert!(moved == "OK" || moved == "NOKEY", "{moved}");
    }

    /// Moves the keys that the slot still has at the source.
    ///
    /// # Panics
    ///
    /// If a server does not answer.
    pub async fn move_keys(&self, slot: u16, from: usize, to: usize) {
        loop {
            let slot = slot.to_string();
            let keys: Vec<String> =
                self.servers[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await;
            if keys.is_empty() {
                return;
            }
            for key in keys {
                self.move_key(&key, from, to).await;
            }
        }
    }

    /// Ends a move: the slot is the target's. Every primary is told.
    ///
    /// # Panics
    ///
    /// If a server does not answer.
    pub async fn end_move(&self, slot: u16, to: usize) {
        let (target, slot) = (self.id_of(to).await, slot.to_string());
        self.servers[to].command::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]).await;
        for (at, server) in self.servers.iter().enumerate() {
            if self.role(at).await == Some(Role::Primary) {
                server.command::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]).await;
            }
        }
    }

    /// Moves a slot with all its keys in one step, and waits until it has moved. Returns false if the servers
    /// cannot do that, as before Valkey 9 and Redis 8.4.
    ///
    /// # Panics
    ///
    /// If a server does not answer, or the slot has not moved after half a minute.
    pub async fn move_at_once(&self, slot: u16, from: usize, to: usize) -> bool {
        let (source, target) = (&self.servers[from], &self.servers[to]);
        let help: Vec<String> = source.command(&["CLUSTER", "HELP"]).await;
        let knows = |word: &str| help.iter().any(|line| line.starts_with(word));
        let slot = slot.to_string();
        if knows("MIGRATESLOTS") {
            let id = self.id_of(to).await;
            let words = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &slot, &slot, "NODE", &id];
            source.command::<()>(&words).await;
        } else if knows("MIGRATION") {
            target.command::<String>(&["CLUSTER", "MIGRATION", "IMPORT", &slot, &slot]).await;
        } else {
            return false;
        }
        let end = Instant::now() + PATIENCE;
        while !self.all_know(to, &slot).await {
            assert!(Instant::now() < end, "the slot has not moved within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Whether every primary knows that this server has the slot.
    async fn all_know(&self, server: usize, slot: &str) -> bool {
        let id = self.id_of(server).await;
        for primary in self.primaries() {
            let nodes: String = primary.command(&["CLUSTER", "NODES"]).await;
            if !nodes.lines().any(|line| line.starts_with(&id) && has_slot(line, slot)) {
                return false;
            }
        }
        true
    }

    /// Lets a replica take over from its primary as planned, and waits until it has. An attempt for which the
    /// other primaries do not vote is repeated.
    ///
    /// # Panics
    ///
    /// If the server does not answer, or has not taken over after half a minute.
    pub async fn fail_over_to(&self, server: usize) {
        let server = &self.servers[server];
        let end = Instant::now() + PATIENCE;
        let is_primary =
            async || server.command::<String>(&["INFO", "replication"]).await.contains("role:master");
        while !is_primary().await {
            assert!(Instant::now() < end, "no failover within {PATIENCE:?}");
            // Refused while the primary is not known to be up.
            let _ = ask::<redis::Value>(server, &["CLUSTER", "FAILOVER"]);
            for _ in 0..100 {
                if !is_primary().await {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// Returns all keys of the servers that are primaries now, sorted. A server that is down has none.
    pub fn keys(&self) -> Vec<String> {
        let of_primary = |server: &RedisServer| -> Option<Vec<String>> {
            let role: (String,) = ask::<redis::Value>(server, &["ROLE"]).and_then(|role| match role {
                redis::Value::Array(words) => {
                    Some((redis::from_redis_value(words.into_iter().next()?).ok()?,))
                }
                _ => None,
            })?;
            (role.0 == "master").then(|| ask(server, &["KEYS", "*"]))?
        };
        let mut keys: Vec<_> = self.servers.iter().filter_map(of_primary).flatten().collect();
        keys.sort();
        keys
    }
}

/// Whether a server has the slot, as its line of `CLUSTER NODES` says.
fn has_slot(line: &str, slot: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().ok();
    line.split(' ').skip(8).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last, slot) = (number(first), number(last), number(slot));
        first.is_some() && first <= slot && slot <= last
    })
}

/// The address by which a server connects to others, if the cluster has gates.
pub(crate) fn source(at: usize) -> IpAddr {
    IpAddr::from([127, 0, 1, u8::try_from(at + 1).expect("a few servers")])
}

/// The slots of a primary.
fn range(at: usize, primaries: usize) -> std::ops::Range<u16> {
    let bound = |at: usize| u16::try_from(usize::from(SLOTS) * at / primaries).expect("a slot");
    bound(at)..bound(at + 1)
}

/// The file in which a server keeps what it knows of its cluster, so that no server has to be told.
fn nodes(ports: &[(u16, u16)], primaries: usize, me: usize) -> String {
    let id = |at: usize| format!("{at:040x}");
    let line = |(at, (port, bus)): (usize, &(u16, u16))| {
        let myself = if at == me { "myself," } else { "" };
        let place = format!("{} 127.0.0.1:{port}@{bus} {myself}", id(at));
        if at < primaries {
            let slots = range(at, primaries);
            let epoch = at + 1;
            format!("{place}master - 0 0 {epoch} connected {}-{}\n", slots.start, slots.end - 1)
        } else {
            let epoch = at - primaries + 1;
            format!("{place}slave {} 0 0 {epoch} connected\n", id(at - primaries))
        }
    };
    let lines: String = ports.iter().enumerate().map(line).collect();
    format!("{lines}vars currentEpoch {primaries} lastVoteEpoch 0\n")
}

/// Sends one command over a new connection; `None` if the server does not answer within a second.
fn ask<T: FromRedisValue>(server: &RedisServer, words: &[&str]) -> Option<T> {
    let second = Duration::from_secs(1);
    let client = redis::Client::open(server.url()).ok()?;
    let mut connection = client.get_connection_with_timeout(second).ok()?;
    connection.set_read_timeout(Some(second)).ok()?;
    redis::cmd(words[0]).arg(&words[1..]).query(&mut connection).ok()
}
