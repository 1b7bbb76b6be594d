//! What is known of a server before it is asked.

use super::super::{
    keys,
    settings::{Role, client_name},
};
use crate::{limits::DEFAULT_NAMESPACE, token::Label};

/// The server that is checked, as this process knows it.
pub(in super::super) struct Server {
    /// Host and port, for messages.
    pub(in super::super) address: String,
    /// The namespace of the keys, if it is known.
    pub(in super::super) namespace: Option<String>,
    pub(in super::super) role: Role,
    /// The label that connections are named by; `None` for the label of the process.
    pub(in super::super) label: Option<Label>,
    /// Each connection may lead to another server, because sentinels say where it is.
    pub(in super::super) may_change: bool,
    /// A server that has become the primary grants nothing for some time.
    pub(in super::super) has_failover_delay: bool,
    /// The connection is the caller's, and may be one to a whole cluster.
    pub(in super::super) is_callers_own: bool,
    /// How many replicas must have a lease.
    pub(in super::super) replicas: u32,
}

impl Server {
    /// The server, or the cluster, at the end of the caller's own connection.
    pub(in super::super) fn of_caller(namespace: &str) -> Self {
        Self {
            address: "own connection".to_owned(),
            namespace: Some(namespace.to_owned()),
            role: Role::Single,
            label: None,
            may_change: false,
            has_failover_delay: false,
            is_callers_own: true,
            replicas: 0,
        }
    }

    /// The namespace of the keys, or a guess.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// The name of a new connection; `None` for the caller's own. Asked for each, because a fork changes the
    /// label of the process.
    pub(super) fn client_name(&self) -> Option<&'static str> {
        (!self.is_callers_own).then(|| client_name(self.label))
    }

    /// The name of the key and of the channel that the questions use. It is no lock's key, because of its
    /// single U+001F.
    pub(super) fn checked_name(&self) -> String {
        let name = keys::channel(self.namespace(), "check");
        match self.role {
            #[cfg(feature = "cluster")]
            Role::ClusterNode { slot } => keys::in_slot(name, slot),
            Role::Single | Role::QuorumNode { .. } => name,
        }
    }

    /// Whether the server is one of a cluster's, as far as its user knows.
    pub(super) fn is_cluster_node(&self) -> bool {
        match self.role {
            #[cfg(feature = "cluster")]
            Role::ClusterNode { .. } => true,
            Role::Single | Role::QuorumNode { .. } => false,
        }
    }

    /// Whether the server is one of a quorum's, whose waiters hear of changed keys.
    pub(super) fn is_quorum_node(&self) -> bool {
        matches!(self.role, Role::QuorumNode { .. })
    }

    /// Whether a restarted server grants nothing until its old leases are over.
    pub(super) fn has_restart_delay(&self) -> bool {
        matches!(self.role, Role::QuorumNode { restart_delay } if !restart_delay.is_zero())
    }
}
