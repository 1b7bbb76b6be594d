//! TLS to the sentinels and to the server, each with certificates of its own.

use distlock::LockManager;
use test_support::RedisServer;

use crate::{certificates::Authority, key_is_handed_over};

async fn works(locks: &LockManager) {
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
}

/// A sentinel names the server's port with TLS, although it cannot speak to it.
#[tokio::test]
async fn sentinels_and_server_have_certificates_of_their_own() {
    let (of_server, of_sentinel) = (Authority::new(), Authority::new());
    let server = of_server.server("127.0.0.1");
    let sentinel = of_sentinel.sentinel("127.0.0.1");
    let port = server.port.to_string();
    sentinel.server.command::<()>(&["SENTINEL", "MONITOR", "orders", "127.0.0.1", &port, "1"]).await;
    let url = format!("rediss-sentinel://127.0.0.1:{}/orders", sentinel.port);
    let builder = || LockManager::builder().url(&url).tls(of_server.client());
    let connect = async || builder().sentinel_tls(of_sentinel.client()).connect().await.unwrap();
    key_is_handed_over(&server.server, &connect().await, &connect().await).await;
    let error = builder().connect().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    // Sentinels without TLS.
    let plain = RedisServer::start_sentinel();
    plain.command::<()>(&["SENTINEL", "MONITOR", "orders", "127.0.0.1", &port, "1"]).await;
    let url = format!("rediss-sentinel://127.0.0.1:{}/orders?sentinel_tls=no", plain.port());
    let locks = LockManager::builder().url(url).tls(of_server.client()).connect().await.unwrap();
    works(&locks).await;
}
