//! What is known of a server before it is asked.

use super::super::{keys, settings::Role};
use crate::limits::DEFAULT_NAMESPACE;

/// The server that is checked, as this process knows it.
pub(in super::super) struct Server {
    /// Host and port, for messages.
    pub(in super::super) address: String,
    /// The namespace of the keys, if it is known.
    pub(in super::super) namespace: Option<String>,
    pub(in super::super) role: Role,
}

impl Server {
    /// The namespace of the keys, or a guess.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
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

    /// Whether a restarted server grants nothing until its old leases are over.
    pub(super) fn has_restart_delay(&self) -> bool {
        matches!(self.role, Role::QuorumNode { restart_delay } if !restart_delay.is_zero())
    }
}
