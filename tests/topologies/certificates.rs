//! An authority of the tests' own, and servers with its certificates.

use std::sync::atomic::{AtomicU32, Ordering};

use distlock::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use test_support::{RedisServer, free_port};

use crate::Directory;

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key, in PEM form.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A server that takes connections with TLS, and without TLS for the test itself.
pub(crate) struct TlsServer {
    pub(crate) server: RedisServer,
    pub(crate) port: u16,
    _files: Directory,
}

impl Authority {
    pub(crate) fn new() -> Self {
        // Each has a name of its own: a certificate names its authority.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("authority {}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Signs a certificate for a host name or an address.
    pub(crate) fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// Trusts this authority, and shows a certificate that it has signed.
    pub(crate) fn client(&self) -> Tls {
        let Identity { certificate, key } = self.identity("client");
        Tls::new().ca(self.pem()).client_certificate(certificate, key)
    }

    /// Starts a server whose certificate has this name. It asks its clients for certificates.
    pub(crate) fn server(&self, name: &str) -> TlsServer {
        self.server_with(name, "yes")
    }

    /// Starts a sentinel whose certificate has this name. It asks its clients for certificates.
    pub(crate) fn sentinel(&self, name: &str) -> TlsServer {
        self.start(name, &["--sentinel", "--tls-auth-clients", "yes"])
    }

    pub(crate) fn server_with(&self, name: &str, asks_clients: &str) -> TlsServer {
        self.start(name, &["--tls-auth-clients", asks_clients])
    }

    fn start(&self, name: &str, settings: &[&str]) -> TlsServer {
        let files = Directory::new();
        let identity = self.identity(name);
        let certificate = files.write("server.pem", &identity.certificate);
        let key = files.write("server.key", &identity.key);
        let ca = files.write("ca.pem", &self.pem());
        let port = free_port();
        let tls_port = port.to_string();
        let tls = ["--tls-port", &tls_port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let all = [&tls[..], &["--tls-ca-cert-file", &ca], settings].concat();
        let server = RedisServer::start_with(&all);
        TlsServer { server, port, _files: files }
    }
}

impl TlsServer {
    pub(crate) fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }
}
