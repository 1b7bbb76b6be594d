//! What happens to the servers of a cluster.

use std::{
    collections::BTreeSet,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    Gate, RedisCluster, RedisServer, eventually,
    redis_cluster::source,
    redis_server::{is_redis_7, query},
};

/// How long a server has to answer.
const ANSWERS: Duration = Duration::from_millis(500);
/// The longest that a cluster takes to agree after a fault.
const SETTLES: Duration = Duration::from_secs(60);

/// What a server of a cluster does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It copies the server at this place.
    Replica {
        /// The primary's place among the servers.
        of: usize,
        /// Whether it gets the primary's writes.
        is_linked: bool,
    },
}

impl RedisCluster {
    /// Cuts a server off from all other servers. Its clients still reach it. A server before Redis 7 does not
    /// connect from an address of its own, and is suspended instead.
    ///
    /// # Panics
    ///
    /// If the cluster has no gates.
    pub fn cut_off(&self, server: usize) {
        assert!(!self.gates.is_empty(), "the cluster has no gates");
        if !is_redis_7() {
            self.servers[server].pause();
            *self.suspended() = Some(server);
            return;
        }
        for (at, gates) in self.gates.iter().enumerate() {
            for gate in gates {
                if at == server {
                    gate.close_to((0..self.servers.len()).map(source));
                } else {
                    gate.close_to([source(server)]);
                }
            }
        }
    }

    /// Cuts a server off from its clients. The other servers still reach it.
    ///
    /// # Panics
    ///
    /// If the cluster has no gates.
    pub fn cut_off_from_clients(&self, server: usize) {
        self.gates[server][0].close_to([Gate::CLIENTS]);
    }

    /// Whether servers connect to each other from addresses of their own, and not as clients do: since Redis
    /// 7.
    pub fn tells_servers_apart() -> bool {
        is_redis_7()
    }

    /// Lets a server execute what clients ask, and keeps its replies and messages to them back.
    ///
    /// # Panics
    ///
    /// If the cluster has no gates.
    pub fn keep_replies_of(&self, server: usize) {
        self.gates[server][0].keep_replies();
    }

    /// Loses the replies and messages that were kept back.
    ///
    /// # Panics
    ///
    /// If the cluster has no gates.
    pub fn lose_replies_of(&self, server: usize) {
        self.gates[server][0].lose_kept_replies();
    }

    fn suspended(&self) -> MutexGuard<'_, Option<usize>> {
        self.suspended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets all reach each other again.
    pub fn join_again(&self) {
        if let Some(server) = self.suspended().take() {
            self.servers[server].resume();
        }
        for gate in self.gates.iter().flatten() {
            gate.close_to([]);
        }
    }

    /// Returns what a server does; `None` if it does not answer.
    pub async fn role(&self, server: usize) -> Option<Role> {
        let info = ask(&self.servers[server], &["INFO", "replication"]).await?;
        let field = |name: &str| info.lines().find_map(|line| line.trim().strip_prefix(name));
        if field("role:") == Some("master") {
            return Some(Role::Primary);
        }
        let port: u16 = field("master_port:")?.parse().ok()?;
        let of = (0..self.servers.len()).find(|at| self.told_port(*at) == port)?;
        Some(Role::Replica { of, is_linked: field("master_link_status:") == Some("up") })
    }

    /// Returns the roles of all servers when each primary has a replica with its data, and all servers agree
    /// on who has which slots.
    ///
    /// # Panics
    ///
    /// If that takes longer than a minute.
    pub async fn settled(&self) -> Vec<Role> {
        let end = Instant::now() + SETTLES;
        loop {
            if let Some(roles) = self.agreed_roles().await {
                return roles;
            }
            assert!(Instant::now() < end, "the cluster has not settled within {SETTLES:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The roles of all servers, if the cluster is complete and they agree.
    async fn agreed_roles(&self) -> Option<Vec<Role>> {
        let (mut roles, mut views) = (Vec::new(), BTreeSet::new());
        for (at, server) in self.servers.iter().enumerate() {
            roles.push(self.role(at).await?);
            views.insert(view_of(server).await?);
        }
        let is_copied = |at| roles.contains(&Role::Replica { of: at, is_linked: true });
        let mut primaries = (0..roles.len()).filter(|at| roles[*at] == Role::Primary);
        (views.len() == 1 && primaries.all(is_copied)).then_some(roles)
    }

    /// Returns the place of the server that has the slot, as this server sees it; `None` if it does not
    /// answer.
    pub async fn owner_of(&self, slot: u16, seen_by: usize) -> Option<usize> {
        let ranges = slots(&self.servers[seen_by]).await?;
        let (_, _, port) = ranges.into_iter().find(|(first, last, _)| (*first..=*last).contains(&slot))?;
        (0..self.servers.len()).find(|at| self.told_port(*at) == port)
    }

    /// Waits until all servers but this one see another server in its place.
    ///
    /// # Panics
    ///
    /// If that takes longer than a minute.
    pub async fn replaced(&self, server: usize) {
        let port = self.told_port(server);
        eventually(SETTLES, async || {
            sleep(Duration::from_millis(20)).await;
            for (at, other) in self.servers.iter().enumerate() {
                let ranges = if at == server { Some(Vec::new()) } else { slots(other).await };
                if ranges.is_none_or(|ranges| ranges.iter().any(|range| range.2 == port)) {
                    return false;
                }
            }
            true
        })
        .await;
    }

    /// Lets a primary take no more writes, until its replica has all of them. Answers false if that takes
    /// longer than two seconds.
    pub async fn replica_catches_up(&self, primary: usize, replica: usize) -> bool {
        let _ = ask_for::<()>(&self.servers[primary], &["CLIENT", "PAUSE", "4000", "WRITE"]).await;
        for _ in 0..100 {
            let offset = async |at: usize, field: &str| {
                let info = ask(&self.servers[at], &["INFO", "replication"]).await?;
                info.lines().find_map(|line| line.trim().strip_prefix(field).map(str::to_owned))
            };
            let written = offset(primary, "master_repl_offset:").await;
            if written.is_some() && written == offset(replica, "slave_repl_offset:").await {
                return true;
            }
            sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

/// Who has which slots, as a server sees it that finds the cluster to be well.
async fn view_of(server: &RedisServer) -> Option<Vec<(u16, u16, u16)>> {
    let info = ask(server, &["CLUSTER", "INFO"]).await?;
    if !info.contains("cluster_state:ok") || info.contains("cluster_slots_ok:0") {
        return None;
    }
    let nodes = ask(server, &["CLUSTER", "NODES"]).await?;
    if nodes.contains("fail") || nodes.contains("handshake") {
        return None;
    }
    let mut view = slots(server).await?;
    view.sort_unstable();
    Some(view)
}

/// The ranges of slots: first, last, and the port of their primary.
async fn slots(server: &RedisServer) -> Option<Vec<(u16, u16, u16)>> {
    let ranges: Vec<Vec<redis::Value>> = ask_for(server, &["CLUSTER", "SLOTS"]).await?;
    let read = |range: Vec<redis::Value>| {
        let [first, last, primary, ..] = &range[..] else { return None };
        let (_, port): (String, u16) = match primary {
            redis::Value::Array(words) => {
                let two = words.get(..2)?.to_vec();
                redis::from_redis_value(redis::Value::Array(two)).ok()?
            }
            _ => return None,
        };
        let slot = |value: &redis::Value| redis::from_redis_value::<u16>(value.clone()).ok();
        Some((slot(first)?, slot(last)?, port))
    };
    ranges.into_iter().map(read).collect()
}

async fn ask(server: &RedisServer, words: &[&str]) -> Option<String> {
    ask_for(server, words).await
}

/// The answer of a server that is up.
pub(crate) async fn ask_for<T: redis::FromRedisValue>(server: &RedisServer, words: &[&str]) -> Option<T> {
    timeout(ANSWERS, query(&server.url(), words)).await.ok()?.ok()
}
