//! A primary with replicas, and sentinels that watch it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    Gate, RedisServer,
    cluster_faults::ask_for as ask,
    eventually, free_port,
    redis_cluster::source,
    redis_server::{is_redis_7, query},
};

/// A primary with replicas, and three sentinels that find a new primary within a few seconds.
pub struct Watched {
    /// The servers of the locks. The first one begins as the primary.
    pub servers: Vec<RedisServer>,
    /// The sentinels.
    pub sentinels: Vec<RedisServer>,
    /// The ways to the servers, if there are gates.
    gates: Vec<Gate>,
    /// A server that is suspended because it cannot be cut off. Set and cleared by the functions for that.
    suspended: Mutex<Option<usize>>,
}

/// Settings with which replicas have the data soon.
const QUICK: [&str; 4] = ["--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb"];

/// The longest that the servers take to find each other, or a new primary.
const SETTLES: Duration = Duration::from_secs(30);

impl Watched {
    /// The name of the service.
    pub const SERVICE: &str = "orders";

    /// Starts a primary, two replicas and three sentinels, and waits until they have found each other.
    pub async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// Like [`start`](Self::start), with more settings of the servers and of the sentinels.
    pub async fn start_with(of_servers: &[&str], of_sentinels: &[&str]) -> Self {
        let primary = Self::start_server(of_servers, &[]);
        let port = primary.port().to_string();
        let mut servers = vec![primary];
        for _ in 0..2 {
            servers.push(Self::start_server(of_servers, &["--replicaof", "127.0.0.1", &port]));
        }
        let settings: Vec<_> = ["--sentinel"].into_iter().chain(of_sentinels.iter().copied()).collect();
        let sentinels: Vec<_> = (0..3).map(|_| RedisServer::start_with(&settings)).collect();
        let watched = Self { servers, sentinels, gates: Vec::new(), suspended: Mutex::default() };
        watched.settle().await;
        watched
    }

    /// Like [`start`](Self::start), with more settings of the servers, and with gates: a server can be
    /// [cut off](Self::cut_off).
    pub async fn start_with_gates(of_servers: &[&str]) -> Self {
        let ports = [(); 3].map(|()| free_port());
        let gates = ports.map(Gate::to);
        let primary = gates[0].port().to_string();
        let mut servers = Vec::new();
        for (at, port) in ports.into_iter().enumerate() {
            let (told, source) = (gates[at].port().to_string(), source(at).to_string());
            let mut settings = [&QUICK, of_servers].concat();
            settings.extend(["--replica-announce-ip", "127.0.0.1", "--replica-announce-port", &told]);
            if is_redis_7() {
                settings.extend(["--bind-source-addr", &source]);
            }
            if at > 0 {
                settings.extend(["--replicaof", "127.0.0.1", &primary]);
            }
            servers.push(RedisServer::start_at(port, &settings, None));
        }
        let sentinel = |at: usize| {
            // The other sentinels know it by this address.
            let source = source(at).to_string();
            let own = ["--sentinel", "--bind", "127.0.0.1", &source, "--bind-source-addr", &source];
            RedisServer::start_with(if is_redis_7() { &own } else { &own[..1] })
        };
        let sentinels = (3..6).map(sentinel).collect();
        let watched = Self { servers, sentinels, gates: gates.into(), suspended: Mutex::default() };
        watched.settle().await;
        watched
    }

    /// The port that a server tells the sentinels.
    fn told_port(&self, at: usize) -> u16 {
        self.gates.get(at).map_or_else(|| self.servers[at].port(), Gate::port)
    }

    fn start_server(settings: &[&str], more: &[&str]) -> RedisServer {
        RedisServer::start_with(&[&QUICK, settings, more].concat())
    }

    async fn settle(&self) {
        let port = &self.told_port(0).to_string();
        eventually(SETTLES, async || self.servers[0].replicas().await == 2).await;
        for sentinel in &self.sentinels {
            // Since Redis 7. Without it, sentinels find each other more slowly.
            let quick =
                ["SENTINEL", "DEBUG", "publish-period", "200", "info-period", "200", "ask-period", "100"];
            let _ = query::<()>(&sentinel.url(), &quick).await;
            sentinel.command::<()>(&["SENTINEL", "MONITOR", Self::SERVICE, "127.0.0.1", port, "2"]).await;
            for (name, value) in
                [("down-after-milliseconds", "1000"), ("failover-timeout", "3000"), ("parallel-syncs", "2")]
            {
                sentinel.command::<()>(&["SENTINEL", "SET", Self::SERVICE, name, value]).await;
            }
        }
        for sentinel in &self.sentinels {
            eventually(SETTLES, async || {
                let about: Vec<String> = sentinel.command(&["SENTINEL", "MASTER", Self::SERVICE]).await;
                let has = |name: &str, value: &str| about.windows(2).any(|pair| pair == [name, value]);
                has("num-slaves", "2") && has("num-other-sentinels", "2") && has("flags", "master")
            })
            .await;
        }
        for sentinel in &self.sentinels {
            // A server that is promoted is made a replica again by sentinels that do not hear why within four
            // of the periods of publishing. And no replica is good enough to be promoted if the latest INFO
            // is older than three of its periods. While the primary is down, that bound is five periods of
            // PING, and INFO is asked for once a second: a period of PING of 100 ms made elections fail again
            // and again, six seconds apart.
            let lasting = ["SENTINEL", "DEBUG", "publish-period", "2000", "info-period", "1000"];
            let _ = query::<()>(&sentinel.url(), &lasting).await;
        }
    }

    /// Returns the sentinels as a URL has them: `127.0.0.1:1,127.0.0.1:2,127.0.0.1:3/orders`.
    pub fn place(&self) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("{}/{}", hosts.join(","), Self::SERVICE)
    }

    /// Returns `redis-sentinel://` and the [`place`](Self::place).
    pub fn url(&self) -> String {
        format!("redis-sentinel://{}", self.place())
    }

    /// Returns which of the servers this sentinel names as the primary.
    ///
    /// # Panics
    ///
    /// If the sentinel does not answer, or names another server.
    pub async fn named_by(&self, sentinel: usize) -> usize {
        let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::SERVICE];
        let (_, port): (String, u16) = self.sentinels[sentinel].command(&question).await;
        (0..self.servers.len()).find(|at| self.told_port(*at) == port).expect("one of the servers")
    }

    /// Returns the server that is the primary, when all sentinels name one that accepts writes.
    pub async fn primary(&self) -> &RedisServer {
        eventually(SETTLES, async || {
            let named = [self.named_by(0).await, self.named_by(1).await, self.named_by(2).await];
            named.iter().all(|at| *at == named[0]) && self.servers[named[0]].is_primary().await
        })
        .await;
        &self.servers[self.named_by(0).await]
    }

    /// Lets the sentinels promote a replica while the primary is up, and waits until all name it.
    pub async fn fail_over(&self) {
        let before = self.named_by(0).await;
        // The sentinel may be busy with an earlier one, and may give one up that takes too long.
        let order = ["SENTINEL", "FAILOVER", Self::SERVICE];
        eventually(SETTLES, async || {
            let _ = query::<()>(&self.sentinels[0].url(), &order).await;
            self.named_by(0).await != before
        })
        .await;
        self.primary().await;
    }
    /// Returns which of the servers is the primary, when all sentinels name it, find all servers to be up,
    /// and the others have its data.
    pub async fn settled(&self) -> usize {
        eventually(SETTLES, async || {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.is_settled().await.unwrap_or(false)
        })
        .await;
        self.named_by(0).await
    }

    /// `None` if a server or a sentinel does not answer.
    async fn is_settled(&self) -> Option<bool> {
        let primary = self.named_by(0).await;
        let port = self.told_port(primary).to_string();
        for sentinel in &self.sentinels {
            let masters: Vec<Vec<String>> = ask(sentinel, &["SENTINEL", "MASTERS"]).await?;
            let replicas: Vec<Vec<String>> = ask(sentinel, &["SENTINEL", "REPLICAS", Self::SERVICE]).await?;
            let has = |about: &[String], name: &str, value: &str| {
                about.windows(2).any(|pair| pair == [name, value])
            };
            let is_well = masters.iter().all(|one| has(one, "port", &port) && has(one, "flags", "master"))
                && replicas.len() == 2
                && replicas
                    .iter()
                    .all(|one| has(one, "flags", "slave") && has(one, "master-link-status", "ok"));
            if !is_well {
                return Some(false);
            }
        }
        for (at, server) in self.servers.iter().enumerate() {
            let info: String = ask(server, &["INFO", "replication"]).await?;
            let is_well = if at == primary {
                info.contains("role:master")
            } else {
                info.contains(&format!("master_port:{port}")) && info.contains("master_link_status:up")
            };
            if !is_well {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Waits until all sentinels name another primary than this server, and returns which.
    pub async fn replaced(&self, server: usize) -> usize {
        eventually(SETTLES, async || {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let named = [self.named_by(0).await, self.named_by(1).await, self.named_by(2).await];
            named[0] != server && named.iter().all(|at| *at == named[0])
        })
        .await;
        self.named_by(0).await
    }

    /// Makes a server a replica of this primary, as sentinels do after some time.
    ///
    /// # Panics
    ///
    /// If the server does not answer.
    pub async fn follow(&self, server: usize, primary: usize) {
        let port = self.told_port(primary).to_string();
        self.servers[server].command::<()>(&["REPLICAOF", "127.0.0.1", &port]).await;
    }

    /// Cuts a server off from the sentinels and from the other servers. Its clients still reach it. A server
    /// before Redis 7 does not connect from an address of its own, and is suspended instead.
    ///
    /// # Panics
    ///
    /// If there are no gates.
    pub fn cut_off(&self, server: usize) {
        assert!(!self.gates.is_empty(), "there are no gates");
        if !is_redis_7() {
            self.servers[server].pause();
            *self.suspended() = Some(server);
            return;
        }
        for (at, gate) in self.gates.iter().enumerate() {
            if at == server {
                gate.close_to((0..6).map(source));
            } else {
                gate.close_to([source(server)]);
            }
        }
    }

    /// Cuts a server off from its clients.
    ///
    /// # Panics
    ///
    /// If there are no gates.
    pub fn cut_off_from_clients(&self, server: usize) {
        self.gates[server].close_to([Gate::CLIENTS]);
    }

    fn suspended(&self) -> MutexGuard<'_, Option<usize>> {
        self.suspended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets all reach each other again.
    pub fn join_again(&self) {
        if let Some(server) = self.suspended().take() {
            self.servers[server].resume();
        }
        for gate in &self.gates {
            gate.close_to([]);
        }
    }
}
