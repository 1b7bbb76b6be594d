//! Whether a server is fit for locks: asked in one round trip on a store's first connection.
//!
//! A server that grants a lock has to take it back. So what a release needs is asked before anything is
//! taken, by questions that change nothing. A question that the server does not answer leaves a check
//! unknown, and is never an error.
//!
//! - [`server`] is what is known before. [`questions`] has the questions, [`findings`] says what the answers
//!   mean.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use redis::{RedisResult, aio::ConnectionLike};

use super::errors::{NODE_OF_A_CLUSTER, classify, is_refused};
use crate::{
    error::{StoreError, StoreErrorKind},
    events,
    store::diagnosis::{Check, CheckState, CheckSubject, Right, ServerDiagnosis},
};

mod findings;
mod questions;
mod server;

pub(super) use server::Server;

/// What each new connection to a server has to pass.
pub(super) struct Gate {
    server: Server,
    /// A connection has passed all checks, so that later ones only have their server's role checked. Set by
    /// the first one that passes, never cleared.
    has_passed: AtomicBool,
    /// The server, or a proxy before it, closes connections at a question, so that nothing is asked. Set when
    /// that turns out, never cleared.
    asks_nothing: AtomicBool,
    /// What the latest check of everything has found. Set by each of them.
    latest: Mutex<Option<ServerDiagnosis>>,
}

impl Gate {
    pub(super) fn new(server: Server) -> Self {
        let (has_passed, asks_nothing, latest) = Default::default();
        Self { server, has_passed, asks_nothing, latest }
    }

    /// Host and port of the server, for messages.
    pub(super) fn address(&self) -> &str {
        &self.server.address
    }

    /// The namespace of the keys, or a guess.
    pub(super) fn namespace(&self) -> &str {
        self.server.namespace()
    }

    /// Whether nothing is left to ask over a connection that was checked.
    pub(super) fn is_open(&self) -> bool {
        self.has_passed.load(Ordering::Relaxed) || self.asks_nothing.load(Ordering::Relaxed)
    }

    /// Whether each connection may lead to another server.
    pub(super) fn may_change(&self) -> bool {
        self.server.may_change
    }

    /// Checks a new connection, before it is used. Gives back the server's answer to INFO, which is empty if
    /// nothing depends on it.
    ///
    /// # Errors
    /// The outer error is one of the connection. The inner error says why the server is of no use.
    pub(super) async fn check(
        &self,
        connection: &mut (impl ConnectionLike + Send),
    ) -> RedisResult<Result<String, StoreError>> {
        if self.has_passed.load(Ordering::Relaxed) && !self.server.may_change {
            return self.check_role(connection).await;
        }
        if self.asks_nothing.load(Ordering::Relaxed) {
            return Ok(Ok(String::new()));
        }
        let (name, client_name) = (self.server.checked_name(), self.server.client_name());
        let of_quorum = self.server.is_quorum_node();
        let answers = questions::ask_everything(connection, &name, client_name, of_quorum).await?;
        let diagnosis = findings::diagnosis(&self.server, &answers);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(diagnosis.clone());
        if let Some(broken) = first_broken(&diagnosis) {
            return Ok(Err(unfit(broken)));
        }
        if self.server.is_callers_own && answers.is_cluster() && questions::is_moved(connection).await? {
            return Ok(Err(StoreError::new(StoreErrorKind::Unfit, NODE_OF_A_CLUSTER)));
        }
        // The slots of a cluster may have moved since the server was found.
        let is_redirected = self.server.is_cluster_node() && answers.is_redirected();
        if let Some(error) = answers.failure().filter(|_| !is_redirected) {
            return Ok(Err(classify(error)));
        }
        if self.server.has_restart_delay() && answers.info().is_none() {
            return Ok(Err(no_info()));
        }
        if self.server.replicas > 0
            && let Err(refused) = self.may_wait(connection).await?
        {
            return Ok(Err(refused));
        }
        if !self.has_passed.swap(true, Ordering::Relaxed) {
            for check in diagnosis.checks.iter().filter(|check| check.state == CheckState::Weak) {
                events::server_weak(&self.server.address, &check.finding);
            }
        }
        Ok(Ok(answers.info().unwrap_or_default().to_owned()))
    }

    /// Asks whether the server lets its client wait for replicas.
    async fn may_wait(
        &self,
        connection: &mut (impl ConnectionLike + Send),
    ) -> RedisResult<Result<(), StoreError>> {
        match redis::cmd("WAIT").arg(0).arg(0).exec_async(connection).await {
            Err(error) if is_refused(&error) => {
                let detail =
                    "the server forbids WAIT, by which `replicas` are waited for; allow it by `+wait`";
                Ok(Err(StoreError::new(StoreErrorKind::Unfit, detail)))
            }
            answer => answer.map(Ok),
        }
    }

    /// Checks that the server behind a later connection accepts writes: a failover may have put another
    /// server behind the address.
    async fn check_role(
        &self,
        connection: &mut (impl ConnectionLike + Send),
    ) -> RedisResult<Result<String, StoreError>> {
        let wants_info = self.server.has_restart_delay();
        let answers = questions::ask_role(connection, wants_info, self.server.client_name()).await?;
        let role = findings::role(&answers);
        if role.state == CheckState::Broken {
            return Ok(Err(unfit(&role)));
        }
        match answers.info() {
            None if wants_info => Ok(Err(no_info())),
            info => Ok(Ok(info.unwrap_or_default().to_owned())),
        }
    }

    /// Called with a new connection after the server, or a proxy before it, has closed one at a question.
    /// Only makes sure that the server answers, and asks nothing any more.
    pub(super) async fn ask_nothing(&self, connection: &mut impl ConnectionLike) -> RedisResult<()> {
        redis::cmd("PING").exec_async(connection).await?;
        self.asks_nothing.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Asks everything over a connection.
    pub(super) async fn diagnose(&self, connection: &mut (impl ConnectionLike + Send)) -> ServerDiagnosis {
        let (name, client_name) = (self.server.checked_name(), self.server.client_name());
        let of_quorum = self.server.is_quorum_node();
        match questions::ask_everything(connection, &name, client_name, of_quorum).await {
            Ok(answers) => {
                let mut diagnosis = findings::diagnosis(&self.server, &answers);
                if !of_quorum && let Some(is_allowed) = questions::ask_tracking(connection).await {
                    diagnosis.rights.push(Right::new("CLIENT TRACKING", CheckSubject::Waiters, is_allowed));
                }
                diagnosis
            }
            Err(error) => self.without_connection(&classify(error)),
        }
    }

    /// What is known of a server to which no connection could be made.
    pub(super) fn without_connection(&self, error: &StoreError) -> ServerDiagnosis {
        let latest = || self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let subject = match error.kind() {
            StoreErrorKind::Unfit if latest().is_some() => return latest().unwrap_or_else(|| self.nothing()),
            StoreErrorKind::ReadOnly => CheckSubject::Role,
            _ => CheckSubject::Reachable,
        };
        let mut diagnosis = self.nothing();
        diagnosis.checks.push(Check::new(subject, CheckState::Broken, error.to_string()));
        diagnosis
    }

    fn nothing(&self) -> ServerDiagnosis {
        ServerDiagnosis::new(&self.server.address)
    }
}

/// Adds to a diagnosis whether waiters can be told by messages. That takes a connection of its own.
pub(super) fn add_subscribe(diagnosis: &mut ServerDiagnosis, is_allowed: bool) {
    diagnosis.rights.push(Right::new("SUBSCRIBE", CheckSubject::Waiters, is_allowed));
    let checks = diagnosis.checks.iter_mut();
    if let Some(waiters) = checks.filter(|_| !is_allowed).find(|check| check.subject == CheckSubject::Waiters)
        && waiters.state == CheckState::Ok
    {
        *waiters = findings::waiters_poll_without(&["SUBSCRIBE"]);
    }
}

/// Checks that the server behind a connection for waiting accepts writes.
///
/// # Errors
/// As [`Gate::check`].
pub(super) async fn ensure_primary(
    connection: &mut (impl ConnectionLike + Send),
) -> RedisResult<Result<(), StoreError>> {
    let role = findings::role(&questions::ask_role(connection, false, None).await?);
    Ok(if role.state == CheckState::Broken { Err(unfit(&role)) } else { Ok(()) })
}

fn first_broken(diagnosis: &ServerDiagnosis) -> Option<&Check> {
    diagnosis.checks.iter().find(|check| check.state == CheckState::Broken)
}

/// The error of a command that is not sent, because the server is not fit for locks.
fn unfit(broken: &Check) -> StoreError {
    // A failover may be under way, and the address may be another server's soon.
    let is_replica = broken.subject == CheckSubject::Role;
    let kind = if is_replica { StoreErrorKind::ReadOnly } else { StoreErrorKind::Unfit };
    StoreError::new(kind, &*broken.finding)
}

fn no_info() -> StoreError {
    let detail = "a node of a quorum has to tell when it was started, and the server refuses INFO; allow it by \
                  `+info`, or set a `restart_delay` of zero if the server keeps every lease over a restart";
    StoreError::new(StoreErrorKind::Unfit, detail)
}
