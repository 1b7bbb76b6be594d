//! An authority of the tests' own, and servers with its certificates.

use std::sync::atomic::{AtomicU32, Ordering};

use distlock::Tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use test_support::{RedisCluster, RedisServer, free_port};
use tokio::task::spawn_blocking;

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

/// A cluster that takes connections with TLS, and without TLS for the test itself.
pub(crate) struct TlsCluster {
    pub(crate) cluster: RedisCluster,
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

    /// Starts a cluster whose servers have a certificate of this name, and ask clients for certificates.
    pub(crate) async fn cluster(&self, name: &str) -> TlsCluster {
        let files = Directory::new();
        let mut settings = self.settings(name, &files);
        settings.extend(["--tls-auth-clients".to_owned(), "yes".to_owned()]);
        let start = move || RedisCluster::start_with_tls(&strs(&settings));
        TlsCluster { cluster: spawn_blocking(start).await.unwrap(), _files: files }
    }

    fn start(&self, name: &str, settings: &[&str]) -> TlsServer {
        let files = Directory::new();
        let (port, own) = (free_port(), self.settings(name, &files));
        let server =
            RedisServer::start_with(&[&["--tls-port", &port.to_string()], &*strs(&own), settings].concat());
        TlsServer { server, port, _files: files }
    }

    /// The settings of a server with a certificate of this name, which is written into the directory.
    fn settings(&self, name: &str, files: &Directory) -> Vec<String> {
        let identity = self.identity(name);
        let files = [
            ("--tls-cert-file", files.write("server.pem", &identity.certificate)),
            ("--tls-key-file", files.write("server.key", &identity.key)),
            ("--tls-ca-cert-file", files.write("ca.pem", &self.pem())),
        ];
        files.into_iter().flat_map(|(setting, file)| [setting.to_owned(), file]).collect()
    }
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

impl TlsServer {
    pub(crate) fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }
}
