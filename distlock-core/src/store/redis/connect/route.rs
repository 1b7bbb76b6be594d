//! The way to a server: to one address, or to the primary that sentinels name at the moment.

use std::sync::Arc;

use redis::{AsyncConnectionConfig, Client, ProtocolVersion, RedisResult, aio::ConnectionLike};

use super::{
    super::{embargo::GrantsFrom, failover::FailoverDelay, settings::Settings},
    endpoint::Endpoint,
};
#[cfg(feature = "sentinel")]
use super::{
    lookup::OfHost,
    sentinel::{Address, Sentinels, SwitchListener},
};
use crate::error::StoreError;

/// How a store's connections find its server.
#[derive(Clone)]
pub(in super::super) struct Route {
    client: Client,
    config: AsyncConnectionConfig,
    /// What each connection over which leases are granted has to wait for.
    failover_delay: Option<Arc<FailoverDelay>>,
    #[cfg(feature = "sentinel")]
    sentinels: Option<Arc<Sentinels>>,
    /// The client's host is the name in the server's certificate, and not where the server is.
    #[cfg(feature = "sentinel")]
    has_server_name: bool,
}

/// Where a connection leads that is made now.
pub(in super::super) struct Way {
    pub(in super::super) client: Client,
    pub(in super::super) config: AsyncConnectionConfig,
    /// The primary that the sentinels have named, and the sentinels.
    #[cfg(feature = "sentinel")]
    named: Option<(Address, Arc<Sentinels>)>,
}

/// Gives a connection up when the server is no longer the primary. Its drop ends that.
#[derive(Clone)]
pub(in super::super) struct SwitchNotice {
    #[cfg(feature = "sentinel")]
    _listener: Option<Arc<SwitchListener>>,
}

impl Route {
    pub(in super::super) fn new(endpoint: &Endpoint, namespace: Option<&str>, settings: &Settings) -> Self {
        Self {
            failover_delay: FailoverDelay::new(settings.failover_delay, namespace).map(Arc::new),
            client: endpoint.client.clone(),
            config: endpoint.connection(settings),
            #[cfg(feature = "sentinel")]
            sentinels: endpoint
                .service()
                .map(|(service, sentinels)| Sentinels::new(service, sentinels, settings).into()),
            #[cfg(feature = "sentinel")]
            has_server_name: endpoint.has_server_name(),
        }
    }

    /// The same way for connections by RESP3, which has messages beside answers.
    pub(in super::super) fn with_resp3(&self) -> RedisResult<Self> {
        let info = self.client.get_connection_info().clone();
        let resp3 = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self { client: Client::open(info.set_redis_settings(resp3))?, ..self.clone() })
    }

    /// When the server behind a new connection grants leases again after a failover; `None` for at once.
    ///
    /// # Errors
    /// If the server does not say since when it is the primary.
    pub(in super::super) async fn grants_from(
        &self,
        connection: &mut (impl ConnectionLike + Send),
    ) -> Result<Option<GrantsFrom>, StoreError> {
        match &self.failover_delay {
            Some(delay) => delay.grants_from(connection).await.map(Some),
            None => Ok(None),
        }
    }

    /// Where the server is now.
    ///
    /// # Errors
    /// Only errors that say that nothing was sent.
    #[cfg(not(feature = "sentinel"))]
    #[expect(clippy::unused_async, reason = "sentinels have to be asked")]
    pub(in super::super) async fn way(&self) -> Result<Way, StoreError> {
        Ok(Way { client: self.client.clone(), config: self.config.clone() })
    }

    /// Where the server is now. Asks the sentinels, if there are any.
    ///
    /// # Errors
    /// Only errors that say that nothing was sent.
    #[cfg(feature = "sentinel")]
    pub(in super::super) async fn way(&self) -> Result<Way, StoreError> {
        let Some(sentinels) = &self.sentinels else {
            return Ok(Way { client: self.client.clone(), config: self.config.clone(), named: None });
        };
        let place = sentinels.primary().await.map_err(StoreError::before_sending)?;
        let info = self.client.get_connection_info().clone();
        let (addr, config) = if self.has_server_name {
            (
                place.with_name_of(info.addr()),
                self.config.clone().set_dns_resolver(OfHost(place.host.clone())),
            )
        } else {
            (place.like(info.addr()), self.config.clone())
        };
        let client = Client::open(info.set_addr(addr)).map_err(super::super::errors::classify)?;
        Ok(Way { client, config, named: Some((place, sentinels.clone())) })
    }
}

impl Way {
    /// Whether sentinels have named the server, which may be a replica.
    #[cfg_attr(
        not(feature = "sentinel"),
        expect(clippy::unused_self, reason = "only sentinels name a server")
    )]
    pub(in super::super) fn is_hearsay(&self) -> bool {
        #[cfg(feature = "sentinel")]
        return self.named.is_some();
        #[cfg(not(feature = "sentinel"))]
        false
    }

    /// Calls `give_up` when the sentinels name another primary, on the current runtime.
    #[cfg_attr(
        not(feature = "sentinel"),
        expect(clippy::unused_self, unused_variables, reason = "only sentinels tell of another primary")
    )]
    pub(in super::super) fn on_switch(&self, give_up: impl FnOnce() + Send + 'static) -> SwitchNotice {
        SwitchNotice {
            #[cfg(feature = "sentinel")]
            _listener: self
                .named
                .clone()
                .map(|(place, sentinels)| sentinels.on_switch(place, give_up).into()),
        }
    }
}
