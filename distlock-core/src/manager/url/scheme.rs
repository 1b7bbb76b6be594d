//! The schemes of URLs.

/// The URLs that are known, for messages.
pub(in super::super) const KNOWN: &str = "`redis://host[:port][/db]`, `unix:///path`, \
     `redis-cluster://host[:port],..`, `redis-sentinel://host[:port],../service`, `redlock://host[:port],..[/db]` or \
     `memory://`; also known are `valkey://` and `redis+unix://`, and with TLS `rediss://`, `valkeys://`, \
     `rediss-cluster://`, `rediss-sentinel://` and `redlocks://`";

/// A scheme that is known, and can be used with the features that are on.
#[derive(Clone, Copy)]
pub(super) struct Scheme {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) has_tls: bool,
}

/// What a scheme leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// This process's memory.
    Memory,
    /// One server at a host.
    Server,
    /// One server at a Unix socket.
    Socket,
    /// A quorum of servers at their hosts.
    Quorum,
    /// One server, at the host that sentinels name.
    Sentinel,
    /// A cluster, by some of its servers.
    Cluster,
}

const ALL: &[Scheme] = &[
    Scheme { name: "memory", kind: Kind::Memory, has_tls: false },
    Scheme { name: "redis", kind: Kind::Server, has_tls: false },
    Scheme { name: "rediss", kind: Kind::Server, has_tls: true },
    Scheme { name: "valkey", kind: Kind::Server, has_tls: false },
    Scheme { name: "valkeys", kind: Kind::Server, has_tls: true },
    Scheme { name: "unix", kind: Kind::Socket, has_tls: false },
    Scheme { name: "redis+unix", kind: Kind::Socket, has_tls: false },
    Scheme { name: "redis-cluster", kind: Kind::Cluster, has_tls: false },
    Scheme { name: "rediss-cluster", kind: Kind::Cluster, has_tls: true },
    Scheme { name: "redlock", kind: Kind::Quorum, has_tls: false },
    Scheme { name: "redlocks", kind: Kind::Quorum, has_tls: true },
    Scheme { name: "redis-sentinel", kind: Kind::Sentinel, has_tls: false },
    Scheme { name: "rediss-sentinel", kind: Kind::Sentinel, has_tls: true },
];

impl Scheme {
    /// The scheme of a URL, and what follows its `://`.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub(super) fn of(url: &str) -> Result<(Self, &str), String> {
        let Some((name, rest)) = url.split_once("://") else {
            return Err(format!("the URL has no scheme; write {KNOWN}"));
        };
        let Some(scheme) = ALL.iter().find(|scheme| scheme.name == name) else {
            return Err(unknown(name));
        };
        if scheme.is_cluster() && cfg!(feature = "redis") && !cfg!(feature = "cluster") {
            return Err(needs_feature(name, "cluster"));
        }
        if scheme.has_tls && cfg!(feature = "redis") && !cfg!(feature = "tls") {
            return Err(needs_feature(name, "tls"));
        }
        Ok((*scheme, rest))
    }

    pub(super) fn is_memory(self) -> bool {
        self.kind == Kind::Memory
    }

    pub(super) fn is_quorum(self) -> bool {
        self.kind == Kind::Quorum
    }

    pub(super) fn is_sentinel(self) -> bool {
        self.kind == Kind::Sentinel
    }

    pub(super) fn is_cluster(self) -> bool {
        self.kind == Kind::Cluster
    }

    /// Whether the URL has a host, in front of which credentials may stand.
    pub(super) fn has_host(self) -> bool {
        matches!(self.kind, Kind::Server | Kind::Quorum | Kind::Cluster | Kind::Sentinel)
    }

    /// The scheme of redis-rs for one of the servers.
    #[cfg(feature = "redis")]
    pub(super) fn of_one_server(self) -> &'static str {
        match (self.kind, self.has_tls) {
            (Kind::Socket, _) => "unix",
            (_, true) => "rediss",
            (_, false) => "redis",
        }
    }
}

/// The message for a scheme whose feature is off.
pub(super) fn needs_feature(name: &str, feature: &str) -> String {
    format!(
        "`{name}://` needs the feature `{feature}`: distlock = {{ version = \"..\", features = [\"{feature}\"] }}"
    )
}

/// The message for a scheme that is not known.
fn unknown(name: &str) -> String {
    match name {
        _ if name.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char)) => {
            format!("the URL's scheme `{name}` is not known; write {KNOWN}")
        }
        // A password may stand in front of a second `://`.
        _ => format!("the URL does not begin with a scheme; write {KNOWN}"),
    }
}
