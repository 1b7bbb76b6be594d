//! Sentinels, which know the primary of a service.
//!
//! # How the primary is found, and why nobody is trusted
//! All sentinels are asked at once. The address that most of them name is taken, because one that is cut off
//! from the others, or has not heard of a failover yet, names the old primary. The server there is asked for
//! its role before anything is granted, so that a wrong answer costs another attempt and nothing else.
//!
//! A connection that is made this way is watched: each sentinel tells by `+switch-master` that it has changed
//! its mind. That is only a hint to ask all of them again. If most name another server then, the connection
//! is given up. This is for a primary that was cut off from the sentinels and not from this process.

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::select_all, stream::FuturesUnordered};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, ProtocolVersion, PushInfo, PushKind,
    RedisError, RedisResult, Value, aio::MultiplexedConnection,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::AbortHandle,
    time::{Instant, sleep, timeout_at},
};

use super::{
    super::{
        errors::{Denial, classify},
        settings::Settings,
    },
    endpoint::Endpoint,
};
use crate::{
    backoff::Backoff,
    error::{StoreError, StoreErrorKind},
    seam,
};

/// How long the other sentinels have to contradict the first one.
const GRACE: Duration = Duration::from_millis(200);

/// The sentinels of one service.
pub(in super::super) struct Sentinels {
    service: String,
    all: Vec<Sentinel>,
    /// How long they have to answer.
    patience: Duration,
}

struct Sentinel {
    client: Client,
    config: AsyncConnectionConfig,
    /// Host and port, for messages.
    address: String,
}

/// Where a server is.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct Address {
    pub(super) host: String,
    port: u16,
}

/// A connection's task that follows the sentinels. The drop ends it.
pub(in super::super) struct SwitchListener(AbortHandle);

impl Drop for SwitchListener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Address {
    /// The address of this server, reached like another one.
    pub(super) fn like(&self, other: &ConnectionAddr) -> ConnectionAddr {
        match other.clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host: self.host.clone(), port: self.port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(self.host.clone(), self.port),
        }
    }

    /// The same, under the other one's name, by which the certificate is checked.
    pub(super) fn with_name_of(&self, other: &ConnectionAddr) -> ConnectionAddr {
        match other.clone() {
            ConnectionAddr::TcpTls { host, insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port: self.port, insecure, tls_params }
            }
            _ => self.like(other),
        }
    }
}

impl Sentinels {
    pub(super) fn new(service: &str, endpoints: &[Endpoint], settings: &Settings) -> Self {
        let all = endpoints.iter().map(|endpoint| Sentinel {
            client: endpoint.client.clone(),
            config: endpoint.connection(settings),
            address: endpoint.address.clone(),
        });
        Self { service: service.to_owned(), all: all.collect(), patience: settings.connect_timeout }
    }

    /// The primary that most of the sentinels name.
    ///
    /// If a majority does not answer soon after the first one, the answers that are there decide.
    ///
    /// # Errors
    /// If no sentinel names one. Each is shown with its reason.
    pub(super) async fn primary(&self) -> Result<Address, StoreError> {
        let mut asked: FuturesUnordered<_> =
            self.all.iter().map(|sentinel| sentinel.primary_of(&self.service)).collect();
        let mut named: Vec<(Address, usize)> = Vec::new();
        let mut failed: Vec<StoreError> = Vec::new();
        let mut until = Instant::now() + self.patience;
        while let Ok(Some(answer)) = timeout_at(until, asked.next()).await {
            let place = match answer {
                Ok(place) => place,
                Err(error) => {
                    failed.push(error);
                    continue;
                }
            };
            if named.is_empty() {
                until = until.min(Instant::now() + GRACE);
            }
            let at = named.iter().position(|(other, _)| *other == place).unwrap_or(named.len());
            if at == named.len() {
                named.push((place.clone(), 0));
            }
            named[at].1 += 1;
            let votes = named[at].1;
            if votes * 2 > self.all.len() {
                return Ok(place);
            }
        }
        // Of several with as many votes, the one that was named first.
        let most = named.into_iter().rev().max_by_key(|(_, votes)| *votes);
        most.map(|(place, _)| place).ok_or_else(|| self.nobody_knows(&failed))
    }

    fn nobody_knows(&self, failed: &[StoreError]) -> StoreError {
        let lasting = [StoreErrorKind::Unfit, StoreErrorKind::Refused];
        let first = failed.first().map(StoreError::kind).filter(|kind| lasting.contains(kind));
        let all_say_so =
            failed.len() == self.all.len() && failed.iter().all(|error| Some(error.kind()) == first);
        let kind = first.filter(|_| all_say_so).unwrap_or(StoreErrorKind::Unreachable);
        let mut reasons: Vec<_> = failed.iter().map(ToString::to_string).collect();
        let silent = self.all.len() - failed.len();
        if silent > 0 {
            reasons.push(format!("{silent} did not answer within {:?}", self.patience));
        }
        let detail = format!("no sentinel names the primary of `{}`: {}", self.service, reasons.join("; "));
        StoreError::new(kind, detail)
    }

    /// Calls `switched` when most of the sentinels name another primary than `known`. The task runs on the
    /// current runtime.
    pub(super) fn on_switch(
        self: &Arc<Self>,
        known: Address,
        switched: impl FnOnce() + Send + 'static,
    ) -> SwitchListener {
        let sentinels = Arc::clone(self);
        let task = seam::spawn_here(async move {
            sentinels.until_switched(&known).await;
            switched();
        });
        SwitchListener(task.abort_handle())
    }

    async fn until_switched(&self, known: &Address) {
        if self.all.is_empty() {
            return pending().await;
        }
        select_all(self.all.iter().map(|sentinel| Box::pin(self.until_told_by(sentinel, known)))).await;
    }

    /// Ends when, after a word of this sentinel, most of them name another primary.
    async fn until_told_by(&self, sentinel: &Sentinel, known: &Address) {
        let mut delays = Backoff::new(Duration::from_secs(1), Duration::from_secs(30)).with_jitter(0.5);
        loop {
            if let Ok((_connection, mut words)) = sentinel.subscribe().await {
                // The primary may have changed before the subscription.
                let mut is_due = true;
                loop {
                    if is_due && self.primary().await.is_ok_and(|primary| primary != *known) {
                        return;
                    }
                    match words.recv().await {
                        Some(word) if word.kind == PushKind::Disconnection => break,
                        Some(word) => is_due = self.is_concerned(&word),
                        None => break,
                    }
                }
            }
            sleep(delays.next_delay()).await;
        }
    }

    /// Whether a message is about this service: `+switch-master` begins with the service's name.
    fn is_concerned(&self, word: &PushInfo) -> bool {
        let Some(Value::BulkString(text)) = word.data.last() else { return false };
        word.kind == PushKind::Message
            && text.strip_prefix(self.service.as_bytes()).is_some_and(|rest| rest.starts_with(b" "))
    }
}

impl Sentinel {
    /// The primary that this sentinel names.
    async fn primary_of(&self, service: &str) -> Result<Address, StoreError> {
        let answer = async {
            let mut connection =
                self.client.get_multiplexed_async_connection_with_config(&self.config).await?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(service).query_async(&mut connection).await
        };
        match answer.await {
            Ok(Some((host, port))) => Ok(Address { host, port }),
            Ok(None) => {
                let detail = format!("it watches no service `{service}`; `SENTINEL MASTERS` lists the names");
                Err(StoreError::new(StoreErrorKind::Unfit, detail))
            }
            Err(error) => Err(refusal(error)),
        }
        .map_err(|error| error.at(&self.address))
    }

    /// A connection that is told of each new primary.
    async fn subscribe(&self) -> RedisResult<(MultiplexedConnection, UnboundedReceiver<PushInfo>)> {
        let info = self.client.get_connection_info().clone();
        let resp3 = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(resp3))?;
        let (sender, words) = unbounded_channel();
        let config = self.config.clone().set_push_sender(sender);
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe("+switch-master").await?;
        Ok((connection, words))
    }
}

/// Says what a sentinel's refusal means.
fn refusal(error: RedisError) -> StoreError {
    let text = format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    if error.kind() == ErrorKind::AuthenticationFailed
        || ["NOAUTH", "WRONGPASS"].iter().any(|code| text.contains(code))
    {
        let detail = "it refuses the user name or password; give those of the sentinels by `sentinel_user` and \
                      `sentinel_pass`";
        StoreError::new(StoreErrorKind::Refused, detail)
    } else if Denial::of(&text) == Some(Denial::Command) && text.contains("nknown command") {
        let detail = "it is not a sentinel; name the sentinels, whose port is 26379 as a rule";
        StoreError::new(StoreErrorKind::Unfit, detail)
    } else {
        classify(error)
    }
}
