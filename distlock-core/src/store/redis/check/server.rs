//! What is known of a server before it is asked.

use super::super::settings::{Role, client_name};
use crate::{limits::DEFAULT_NAMESPACE, token::Label};

/// The server that is checked, as this process knows it.
pub(in super::super) struct Server {
    /// Host and port, for messages.
    pub(in super::super) address: String,
    /// The namespace of the keys, if it is known.
    pub(in super::super) namespace: Option<String>,
    pub(in super::super) role: Role,
    /// The connections are this library's, and get a name.
    pub(in super::super) is_named: bool,
    /// The label that they are named by; `None` for the label of the process.
    pub(in super::super) label: Option<Label>,
}

impl Server {
    /// The namespace of the keys, or a guess.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// The name of a new connection. Asked for each, because a fork changes the label of the process.
    pub(super) fn client_name(&self) -> Option<&'static str> {
        self.is_named.then(|| client_name(self.label))
    }

    /// Whether a restarted server grants nothing until its old leases are over.
    pub(super) fn has_restart_delay(&self) -> bool {
        matches!(self.role, Role::QuorumNode { restart_delay } if !restart_delay.is_zero())
    }
}
