//! How a store reaches and uses its server.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Cmd};

use crate::{
    limits::{DEFAULT_CONNECT_TIMEOUT, DEFAULT_FENCE_LIFETIME, DEFAULT_RESPONSE_TIMEOUT},
    token::Label,
};

/// Commands that may wait to be written to a connection. With redis-rs's 50, tasks queue for room where many
/// lock at once, and each is woken once more.
const COMMANDS_AT_ONCE: usize = 1024;

/// How a store reaches and uses its server.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// The longest that an answer is waited for.
    pub(crate) response_timeout: Duration,
    /// The longest that making a connection may take.
    pub(crate) connect_timeout: Duration,
    /// How long a key's fencing counter outlives the key's last grant.
    pub(crate) fence_lifetime: Duration,
    /// What the server is used as.
    pub(crate) role: Role,
    /// The label of the owners, by which connections are named; `None` for the label of the process.
    pub(crate) label: Option<Label>,
}

/// What a store's server is used as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The only server of its locks.
    Single,
    /// A node of a quorum. Its keys have no wait queues, and it grants nothing for the delay after its start.
    QuorumNode { restart_delay: Duration },
}

impl Default for Settings {
    fn default() -> Self {
        let (response_timeout, connect_timeout) = (DEFAULT_RESPONSE_TIMEOUT, DEFAULT_CONNECT_TIMEOUT);
        let (fence_lifetime, role) = (DEFAULT_FENCE_LIFETIME, Role::Single);
        Self { response_timeout, connect_timeout, fence_lifetime, role, label: None }
    }
}

impl Settings {
    /// Checks the timeouts.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, timeout) in
            [("response_timeout", self.response_timeout), ("connect_timeout", self.connect_timeout)]
        {
            if timeout.is_zero() {
                return Err(format!(
                    "{name} is zero, so that nothing could ever be answered; give it a duration above zero"
                ));
            }
        }
        Ok(())
    }

    /// The settings of a connection.
    pub(super) fn connection(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.response_timeout))
            .set_connection_timeout(Some(self.connect_timeout))
            .set_pipeline_buffer_size(COMMANDS_AT_ONCE)
    }
}

/// The name of a connection in the server's list of clients. It may have each character of a label.
pub(super) fn client_name(label: Option<Label>) -> &'static str {
    label.unwrap_or_else(Label::of_process).as_str()
}

/// Names a connection. A server that refuses it does without.
pub(super) fn set_client_name(name: &str) -> Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg("SETNAME").arg(name);
    command
}
