//! When a server that has become the primary may grant leases again.
//!
//! A server that is promoted draws a new replication id, and so does one that starts without its data. The
//! first process that meets an id writes down when that was, by the server's clock. All processes count the
//! delay from that record, which the server's replicas have as well.

use std::time::Duration;

use redis::{Pipeline, RedisResult, aio::ConnectionLike};
use tokio::time::Instant;

use super::{
    commands::millis,
    embargo::{GrantsFrom, Reason},
    errors::{classify, nonsense},
    keys,
};
use crate::{
    error::{StoreError, StoreErrorKind},
    limits::DEFAULT_NAMESPACE,
};

/// For how long a waiting call bears that sentinels name no primary that grants, or that a cluster has none
/// for the key: as long as sentinels allow a failover to take unless it is configured.
pub(super) const FAILOVER_LASTS: Duration = Duration::from_secs(180);

/// How long a record lasts after the latest connection that has read it.
const RECORD_LASTS: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// How long a server grants nothing after it became the primary.
pub(super) struct FailoverDelay {
    delay: Duration,
    namespace: String,
}

impl FailoverDelay {
    /// `None` for a delay of zero.
    pub(super) fn new(delay: Duration, namespace: Option<&str>) -> Option<Self> {
        let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE).to_owned();
        (!delay.is_zero()).then_some(Self { delay, namespace })
    }

    /// When the server behind a new connection grants leases again.
    ///
    /// # Errors
    /// If the server does not tell its replication id, or has no record and does not take one.
    pub(super) async fn grants_from(
        &self,
        connection: &mut (impl ConnectionLike + Send),
    ) -> Result<GrantsFrom, StoreError> {
        let info: RedisResult<String> = redis::cmd("INFO").arg("replication").query_async(connection).await;
        let info = info.map_err(classify)?;
        let id = info.lines().find_map(|line| line.trim().strip_prefix("master_replid:"));
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            let detail =
                "the server does not tell its replication id, on which the `failover_delay` rests (INFO)";
            return Err(StoreError::new(StoreErrorKind::Unfit, detail));
        };
        let now = Instant::now();
        let record = keys::channel(&self.namespace, format_args!("r{id}"));
        let (time, met) = self.met(connection, &record).await.map_err(classify)?;
        let met = met.ok_or_else(|| nonsense("the record of a failover is not a time"))?;
        // A clock that was stepped back makes the delay longer, and never longer than from now on.
        let passed = Duration::from_millis(time.saturating_sub(met));
        Ok(GrantsFrom { at: now + self.delay.saturating_sub(passed), reason: Reason::Failover })
    }

    /// The server's time, and when this server was first met as the primary, in ms.
    async fn met(
        &self,
        connection: &mut (impl ConnectionLike + Send),
        record: &str,
    ) -> RedisResult<(u64, Option<u64>)> {
        let ((seconds, micros),): ((u64, u64),) =
            Pipeline::with_capacity(1).cmd("TIME").query_async(connection).await?;
        let time = seconds * 1000 + micros / 1000;
        let lasts = millis(RECORD_LASTS);
        let mut commands = Pipeline::with_capacity(3);
        commands.cmd("SET").arg(record).arg(time).arg("NX").arg("PX").arg(lasts).ignore();
        commands.cmd("PEXPIRE").arg(record).arg(lasts).ignore();
        let (met,): (String,) = commands.cmd("GET").arg(record).query_async(connection).await?;
        Ok((time, met.parse().ok()))
    }
}
