//! A primary with replicas, and sentinels that watch it.

use std::time::Duration;

use crate::{RedisServer, eventually, redis_server::query};

/// A primary with replicas, and three sentinels that find a new primary within a few seconds.
pub struct Watched {
    /// The servers of the locks. The first one begins as the primary.
    pub servers: Vec<RedisServer>,
    /// The sentinels.
    pub sentinels: Vec<RedisServer>,
}

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
        let watched = Self { servers, sentinels };
        watched.settle(&port).await;
        watched
    }

    fn start_server(settings: &[&str], more: &[&str]) -> RedisServer {
        let quick = ["--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb"];
        let all: Vec<_> =
            quick.into_iter().chain(settings.iter().copied()).chain(more.iter().copied()).collect();
        RedisServer::start_with(&all)
    }

    async fn settle(&self, port: &str) {
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
            // A server that is promoted is made a replica again by sentinels that do not hear why within four of
            // the periods of publishing. And no replica is good enough to be promoted if the latest INFO is older
            // than three of its periods. While the primary is down, that bound is five periods of PING, and INFO
            // is asked for once a second: a period of PING of 100 ms made elections fail again and again, six
            // seconds apart.
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
        self.servers.iter().position(|server| server.port() == port).expect("one of the servers")
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
}
