//! TLS with an authority of the user's own and with client certificates, for commands and for waiting.

use std::time::Duration;

use distlock::{LockError, LockManager, StoreErrorKind, Tls};
use test_support::{eventually, in_time};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use crate::{
    SOON,
    certificates::{Authority, Identity, TlsServer},
    clients, key_is_handed_over,
};

async fn connect(url: &str, tls: Tls) -> Result<LockManager, LockError> {
    LockManager::builder().url(url).tls(tls).connect().await
}

/// Fails to connect. Returns the message of an error that waiting does not mend.
async fn refused(url: &str, tls: Tls) -> String {
    let error = connect(url, tls).await.unwrap_err();
    let LockError::Store { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), StoreErrorKind::Refused, "{error}");
    error.to_string()
}

/// Cannot be made. Returns the message.
fn unusable(tls: Tls) -> String {
    let error = LockManager::builder().url("rediss://localhost").tls(tls).build().unwrap_err();
    assert!(matches!(error, LockError::Config { .. }), "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_key_is_handed_over_by_tls_with_client_certificates() {
    let authority = Authority::new();
    let tls = authority.server("127.0.0.1");
    let one = connect(&tls.url(), authority.client()).await.unwrap();
    let other = connect(&tls.url().replace("rediss", "valkeys"), authority.client()).await.unwrap();
    key_is_handed_over(&tls.server, &one, &other).await;
    // The waiter was subscribed.
    assert_eq!(clients(&tls.server, &['P']).await, 1);
}

#[tokio::test]
async fn the_server_may_have_another_name_than_its_host() {
    let authority = Authority::new();
    let tls = authority.server("redis.internal");
    let named = authority.client().server_name("redis.internal");
    let locks = connect(&tls.url(), named).await.unwrap();
    key_is_handed_over(&tls.server, &locks, &locks).await;
    let error = refused(&tls.url(), authority.client()).await;
    assert!(error.contains("certificate is not accepted") && error.contains("server_name"), "{error}");
}

#[tokio::test]
async fn a_quorum_has_one_set_of_certificates() {
    let authority = Authority::new();
    let servers = [(); 3].map(|()| authority.server("redis.internal"));
    let hosts: Vec<_> = servers.iter().map(|tls| format!("127.0.0.1:{}", tls.port)).collect();
    // A node that is slow to connect is skipped for a while, and so are its hints.
    let slow = "connect_timeout=10s&response_timeout=10s";
    let url = format!("redlocks://{}?restart_delay=0&{slow}", hosts.join(","));
    let named = || authority.client().server_name("redis.internal");
    let one = connect(&url, named()).await.unwrap();
    let other = connect(&url, named()).await.unwrap();
    let holder = one.lock("k").acquire().await.unwrap();
    let acquire = other.lock("k").wait(Duration::from_secs(60)).acquire();
    let waiter = tokio::spawn(async { acquire.await.unwrap() });
    // Waiters of a quorum are told of a release by client-side caching.
    for TlsServer { server, .. } in &servers {
        eventually(SOON, async || clients(server, &['t']).await == 1).await;
    }
    holder.release().await.unwrap();
    in_time(SOON, waiter).await.unwrap().release().await.unwrap();
    for TlsServer { server, .. } in &servers {
        eventually(SOON, async || !server.has("lock:k").await).await;
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_told_what_is_missing() {
    let authority = Authority::new();
    let tls = authority.server("127.0.0.1");
    let error = refused(&tls.url(), Tls::new().ca(authority.pem())).await;
    assert!(error.contains("client_certificate"), "{error}");
    let Identity { certificate, key } = Authority::new().identity("client");
    let unknown = Tls::new().ca(authority.pem()).client_certificate(certificate, key);
    let error = refused(&tls.url(), unknown).await;
    assert!(error.contains("does not accept this client's certificate"), "{error}");
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_told_apart() {
    let authority = Authority::new();
    let tls = authority.server_with("127.0.0.1", "no");
    for other in [Tls::new(), Authority::new().client()] {
        let error = refused(&tls.url(), other).await;
        assert!(error.contains("certificate is not accepted") && error.contains("Tls::ca("), "{error}");
    }
    // A client certificate is not needed everywhere.
    let locks = connect(&tls.url(), Tls::new().ca(authority.pem())).await.unwrap();
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    // Redis takes what TLS begins with for a command that is not complete, and may not answer at all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rediss://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"-ERR unknown command\r\n").await.unwrap();
        stream
    });
    let error = refused(&url, Tls::new().ca(Authority::new().pem())).await;
    assert!(error.contains("without TLS"), "{error}");
    drop(server);
}

#[test]
fn certificates_that_cannot_be_used_are_refused_early() {
    let authority = Authority::new();
    let Identity { certificate, key } = authority.identity("client");
    let other = authority.identity("other");
    assert!(unusable(Tls::new().ca("hunter2")).contains("BEGIN CERTIFICATE"));
    assert!(unusable(Tls::new().ca(key.clone())).contains("BEGIN CERTIFICATE"));
    let with = |certificate: &str, key: &str| unusable(Tls::new().client_certificate(certificate, key));
    assert!(with("", &key).contains("client certificate"));
    assert!(with(&certificate, "hunter2").contains("BEGIN PRIVATE KEY"));
    assert!(with(&certificate, &other.key).contains("certificate and key"));
    assert!(unusable(Tls::new().server_name("not a name")).contains("`not a name`"));
    let shown = format!("{:?}", Tls::new().client_certificate(certificate.clone(), key.clone()));
    assert!(!shown.contains("PRIVATE") && !shown.contains(&format!("{:?}", key.as_bytes())), "{shown}");
}

#[test]
fn certificates_without_tls_are_refused() {
    let builder = || LockManager::builder().tls(Tls::new());
    for url in ["redis://localhost", "unix:///run/redis.sock", "redlock://a,b,c", "memory://"] {
        let error = builder().url(url).build().unwrap_err().to_string();
        assert!(error.contains("rediss://"), "{error}");
    }
    let error = builder().store(distlock::MemoryStore::new()).build().unwrap_err().to_string();
    assert!(error.contains("rediss://"), "{error}");
}
