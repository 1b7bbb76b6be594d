//! Certificates of the user's own.

use std::fmt;

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::error::LockError;

/// Certificates for TLS that the platform does not have: an authority of your own, and what the server asks
/// of its clients. For [`LockManagerBuilder::tls`](crate::LockManagerBuilder::tls).
///
/// All connections use them: those for commands and those for waiting, to one server and to each node of a
/// quorum. Without any, a server is trusted if its certificate is signed by one of the platform's authorities
/// and names its host.
///
/// # Examples
/// ```no_run
/// # extern crate distlock_core as distlock;
/// use distlock::{LockManager, Tls};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = Tls::new()
///     .ca(std::fs::read("/etc/redis/ca.pem")?)
///     .client_certificate(std::fs::read("/etc/redis/app.pem")?, std::fs::read("/etc/redis/app.key")?);
/// let manager = LockManager::builder().url("rediss://redis.internal").tls(tls).connect().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use = "it is given to a builder by `tls`"]
pub struct Tls {
    ca: Option<Vec<u8>>,
    /// The client's certificate and its private key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl Tls {
    /// The platform's authorities, no client certificate, and the URL's host as the server's name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts servers whose certificate is signed by one of these authorities, in PEM form, and no longer
    /// those of the platform.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// Shows the server this certificate, with the certificates between it and the server's authority behind
    /// it, and proves it by its private key. Both are in PEM form.
    pub fn client_certificate(
        mut self,
        certificate_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some((certificate_pem.into(), key_pem.into()));
        self
    }

    /// Expects this name in the server's certificate, in place of the URL's host: a DNS name or an address.
    /// On a quorum, each node must have it.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The certificates as redis-rs takes them.
    ///
    /// # Errors
    /// [`LockError::Config`] for what could not be used at any connection.
    pub(super) fn certificates(&self) -> Result<TlsCertificates, LockError> {
        self.check().map_err(|reason| LockError::Config { key: String::new(), reason })?;
        let client_tls = self.identity.clone();
        let client_tls =
            client_tls.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Ok(TlsCertificates { client_tls, root_cert: self.ca.clone() })
    }

    /// No message shows a part of a PEM text.
    fn check(&self) -> Result<(), String> {
        if let Some(ca) = &self.ca {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca, "CA")? {
                roots.add(certificate).map_err(|error| {
                    format!("the CA of `.tls(..)` is not the certificate of an authority: {error}")
                })?;
            }
        }
        if let Some((chain, key)) = &self.identity {
            let chain = certificates(chain, "client certificate")?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
                "the client key of `.tls(..)` is not PEM; give the text that begins with `-----BEGIN PRIVATE KEY-----`"
                    .to_owned()
            })?;
            ensure_crypto_provider();
            let client = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
            client.with_client_auth_cert(chain, key).map_err(|error| {
                format!("the client certificate and key of `.tls(..)` cannot be used: {error}")
            })?;
        }
        if let Some(name) = &self.server_name {
            ServerName::try_from(&**name).map_err(|_| {
                format!("the server name `{name}` of `.tls(..)` is neither a DNS name nor an address")
            })?;
        }
        Ok(())
    }
}

/// The certificates in a PEM text, of which there must be one.
fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
        format!("the {what} of `.tls(..)` is not PEM; give the text that begins with `-----BEGIN CERTIFICATE-----`")
    })
}

/// Gives rustls its cryptography (ring) unless the program has chosen one. Without any, rustls panics at the
/// first `rediss://` connection.
pub(super) fn ensure_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread's choice in between is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

impl fmt::Debug for Tls {
    /// Leaves out the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("has_ca", &self.ca.is_some())
            .field("has_client_certificate", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}
