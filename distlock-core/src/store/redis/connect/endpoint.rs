//! How a server is reached: its address, its credentials, its TLS.

use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use super::{super::settings::Settings, lookup::OfHost};
use crate::error::LockError;

/// How a server is reached.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(in super::super) client: Client,
    /// Host and port, or the path of the socket, for messages: without user name and password.
    pub(in super::super) address: String,
    /// The host to connect to, if the client names the one in the server's certificate. Set by `with_tls`.
    host: Option<String>,
    /// Who knows user name and password. Set by `with_credentials`.
    #[cfg(feature = "credentials")]
    credentials: Option<super::credentials::Credentials>,
    /// The sentinels that know where the server is, and its name there. Set by `found_by`.
    #[cfg(feature = "sentinel")]
    sentinels: Option<(String, Vec<Self>)>,
}

/// What a URL's parameters say beside its place; `None` for what they do not say. It may hold a password, so
/// it has no `Debug`.
#[derive(Default)]
pub(crate) struct Login<'a> {
    pub(crate) db: Option<u32>,
    pub(crate) user: Option<&'a str>,
    pub(crate) pass: Option<&'a str>,
    /// The version of Redis's protocol, 2 or 3.
    pub(crate) protocol: Option<u8>,
}

impl Endpoint {
    /// The server of a client that the caller made.
    pub(crate) fn of(client: Client) -> Self {
        Self {
            address: client.get_connection_info().addr().to_string(),
            client,
            host: None,
            #[cfg(feature = "credentials")]
            credentials: None,
            #[cfg(feature = "sentinel")]
            sentinels: None,
        }
    }

    /// The server at one of redis-rs's URLs.
    ///
    /// # Errors
    /// [`LockError::Config`] for a URL that is not understood, and for what both the URL and the login say.
    pub(crate) fn from_url(url: &str, login: &Login<'_>) -> Result<Self, LockError> {
        #[cfg(feature = "tls")]
        super::super::tls::ensure_crypto_provider();
        let info = login.added_to(url.into_connection_info().map_err(|error| bad_url(&error))?)?;
        Ok(Self::of(Client::open(info).map_err(|error| bad_url(&error))?))
    }

    /// The host that is connected to.
    #[cfg(feature = "cluster")]
    pub(in super::super) fn host_name(&self) -> String {
        use redis::ConnectionAddr;

        match (&self.host, self.client.get_connection_info().addr()) {
            (Some(host), _) | (None, ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) => {
                host.clone()
            }
            (None, _) => String::new(),
        }
    }

    /// Another server of the same cluster, which is reached like this one.
    #[cfg(feature = "cluster")]
    pub(in super::super) fn of_node(&self, host: &str, port: u16) -> Result<Self, LockError> {
        use redis::ConnectionAddr;

        let info = self.client.get_connection_info().clone();
        let addr = match info.addr().clone() {
            // The certificates of all servers have the name that the caller gave.
            ConnectionAddr::TcpTls { host: name, insecure, tls_params, .. } => {
                let host = if self.host.is_some() { name } else { host.to_owned() };
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host.to_owned(), port),
        };
        let client = Client::open(info.set_addr(addr)).map_err(|error| bad_url(&error))?;
        let host_of_name = self.host.is_some().then(|| host.to_owned());
        Ok(Self { client, address: format!("{host}:{port}"), host: host_of_name, ..self.clone() })
    }

    /// The same server with certificates of the caller's.
    ///
    /// # Errors
    /// [`LockError::Config`] for a certificate, a key or a name that cannot be used.
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(self, tls: &super::super::Tls) -> Result<Self, LockError> {
        use redis::ConnectionAddr;

        let certificates = tls.certificates()?;
        let info = self.client.get_connection_info().clone();
        let (info, host) = match (info.addr().clone(), tls.name()) {
            (ConnectionAddr::TcpTls { host, port, insecure, tls_params }, Some(name)) => {
                let addr = ConnectionAddr::TcpTls { host: name.to_owned(), port, insecure, tls_params };
                (info.set_addr(addr), Some(host))
            }
            _ => (info, None),
        };
        let client = Client::build_with_tls(info, certificates).map_err(|error| bad_url(&error))?;
        Ok(Self { client, host, ..self })
    }

    /// The same server, with user name and password from a provider.
    #[cfg(feature = "credentials")]
    pub(crate) fn with_credentials(mut self, credentials: super::credentials::Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// The primary of a service, which is wherever these sentinels say. The endpoint's own host is not used.
    #[cfg(feature = "sentinel")]
    pub(crate) fn found_by(mut self, service: &str, sentinels: Vec<Self>) -> Self {
        let addresses: Vec<_> = sentinels.iter().map(|sentinel| &*sentinel.address).collect();
        self.address = format!("{service} of {}", addresses.join(","));
        self.sentinels = Some((service.to_owned(), sentinels));
        self
    }

    /// Host and port, for messages.
    #[cfg(feature = "sentinel")]
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether sentinels say where the server is.
    #[cfg_attr(
        not(feature = "sentinel"),
        expect(clippy::unused_self, reason = "only sentinels name a server")
    )]
    pub(in super::super) fn is_found_by_sentinels(&self) -> bool {
        #[cfg(feature = "sentinel")]
        return self.sentinels.is_some();
        #[cfg(not(feature = "sentinel"))]
        false
    }

    /// The name of the server's service, and the sentinels that know where it is.
    #[cfg(feature = "sentinel")]
    pub(super) fn service(&self) -> Option<(&str, &[Self])> {
        self.sentinels.as_ref().map(|(service, sentinels)| (&**service, &**sentinels))
    }

    /// Whether the client's host is the name in the server's certificate.
    #[cfg(feature = "sentinel")]
    pub(super) fn has_server_name(&self) -> bool {
        self.host.is_some()
    }

    /// The settings of a connection to the server.
    pub(in super::super) fn connection(&self, settings: &Settings) -> AsyncConnectionConfig {
        let connection = settings.connection();
        #[cfg(feature = "credentials")]
        let connection = match &self.credentials {
            Some(credentials) => connection.set_credentials_provider(credentials.clone()),
            None => connection,
        };
        match &self.host {
            Some(host) => connection.set_dns_resolver(OfHost(host.clone())),
            None => connection,
        }
    }
}

impl Login<'_> {
    fn added_to(&self, info: ConnectionInfo) -> Result<ConnectionInfo, LockError> {
        let mut redis = info.redis_settings().clone();
        for (name, is_twice) in [
            ("db", self.db.is_some() && redis.db() != 0),
            ("user", self.user.is_some() && redis.username().is_some()),
            ("pass", self.pass.is_some() && redis.password().is_some()),
        ] {
            if is_twice {
                return Err(config(format!(
                    "the URL has its parameter `{name}` twice: behind the `?` and in front of it; write it in one place"
                )));
            }
        }
        if let Some(db) = self.db {
            redis = redis.set_db(db.into());
        }
        if let Some(user) = self.user {
            redis = redis.set_username(user);
        }
        if let Some(pass) = self.pass {
            redis = redis.set_password(pass);
        }
        match self.protocol {
            Some(2) => redis = redis.set_protocol(ProtocolVersion::RESP2),
            Some(_) => redis = redis.set_protocol(ProtocolVersion::RESP3),
            None => {}
        }
        Ok(info.set_redis_settings(redis))
    }
}

/// The message repeats nothing of the URL, which may hold a password.
pub(in super::super) fn bad_url(error: &redis::RedisError) -> LockError {
    let what = error.category();
    config(format!("the Redis URL is not valid ({what}); write redis://[user:password@]host[:port][/db]"))
}

fn config(reason: String) -> LockError {
    LockError::Config { key: String::new(), reason }
}
