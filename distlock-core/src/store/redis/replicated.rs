//! Grants, claims and renewals that count only when replicas have them.
//!
//! `WAIT` counts up to the last write of its own connection, and blocks that connection. So each of these
//! takes a connection of the pool, writes the lease's ttl there once more, and waits. The write comes first
//! even after a grant: a grant may be older than the connection, as for an acquire that is sent again and for
//! a lease that another owner's release has handed over.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};

use super::{
    commands::{self, millis},
    connect::pool::Pool,
    errors::classify,
    release_form::ReleaseForm,
};
use crate::{
    error::{StoreError, StoreErrorKind},
    key::Key,
    token::OwnerToken,
};

/// Why a lease's ttl is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// The lease was granted, by another command.
    Grant,
    /// The lease was handed over, and its owner confirms that.
    HandOver,
    Renewal,
}

/// How many replicas must have a write, and for how long they are waited for.
#[derive(Clone, Copy)]
pub(super) struct Replicas {
    pub(super) count: u32,
    pub(super) patience: Duration,
}

impl Replicas {
    /// `None` if no replica need have anything.
    pub(super) fn new(count: u32, response_timeout: Duration) -> Option<Self> {
        // The answer has to come before the response timeout.
        let patience = (response_timeout / 2).max(Duration::from_millis(1));
        (count > 0).then_some(Self { count, patience })
    }

    /// Writes the lease's ttl, and waits for the replicas. Answers false if the lease is not the owner's.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotReplicated`] if too few replicas have it. A grant is given back then.
    pub(super) async fn write(
        self,
        writing: Writing,
        pool: &Pool,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        form: &ReleaseForm,
    ) -> Result<bool, StoreError> {
        pool.with_connection(async |mut connection: MultiplexedConnection| {
            let is_held = match writing {
                Writing::HandOver => {
                    commands::confirm_hand_over(&mut connection, key, owner, ttl, form).await?
                }
                Writing::Grant | Writing::Renewal => {
                    commands::renew(&mut connection, key, owner, ttl, form).await?
                }
            };
            if !is_held {
                return Ok(false);
            }
            match self.wait(&mut connection).await {
                Err(error) if writing == Writing::Grant && error.kind() == StoreErrorKind::NotReplicated => {
                    match commands::release(&mut connection, key, owner, form).await {
                        Ok(_) => Err(error),
                        Err(_) => Err(error.after_unknown_outcome()),
                    }
                }
                waited => waited.map(|()| true),
            }
        })
        .await
    }

    /// Waits until enough replicas have what was written over this connection.
    async fn wait(self, connection: &mut (impl ConnectionLike + Send)) -> Result<(), StoreError> {
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.count).arg(millis(self.patience));
        let have: u32 = wait.query_async(connection).await.map_err(classify)?;
        if have >= self.count {
            return Ok(());
        }
        let (count, patience) = (self.count, self.patience);
        let detail =
            format!("{have} replicas have the lease after {patience:?}, and {count} must have it (replicas)");
        Err(StoreError::new(StoreErrorKind::NotReplicated, detail))
    }
}
