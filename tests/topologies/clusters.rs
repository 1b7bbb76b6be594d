//! A cluster by TLS, with an authority of the user's own and with client certificates.

use distlock::{LockError, LockManager, Tls};
use test_support::{RedisCluster, RedisServer};

use crate::{certificates::Authority, key_is_handed_over};

/// The primary that has the key `k`.
pub(crate) async fn server_of_k(cluster: &RedisCluster) -> &RedisServer {
    &cluster.servers()[cluster.first_owner_of(cluster.slot_of("lock:k").await)]
}

async fn connect(cluster: &RedisCluster, tls: Tls) -> Result<LockManager, LockError> {
    let url = cluster.url().replace("redis-cluster://", "rediss-cluster://");
    LockManager::builder().url(url).tls(tls).connect().await
}

/// Hands a key over, of which the server tells the waiter, and draws a fencing token at each primary.
async fn all_works(cluster: &RedisCluster, tls: impl Fn() -> Tls) {
    let (one, other) = (connect(cluster, tls()).await.unwrap(), connect(cluster, tls()).await.unwrap());
    let server = server_of_k(cluster).await;
    let told = server.calls(&["publish"]).await;
    key_is_handed_over(server, &one, &other).await;
    assert_eq!(server.calls(&["publish"]).await, told + 1);
    for primary in 0..3 {
        let name = cluster.name_at("k", primary).await;
        let held = one.lock(&name).fenced().acquire().await.unwrap();
        held.renew().await.unwrap();
        assert!(cluster.servers()[primary].has(&format!("lock:{name}")).await);
        held.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_cluster_has_one_set_of_certificates() {
    let authority = Authority::new();
    let tls = authority.cluster("127.0.0.1").await;
    all_works(&tls.cluster, || authority.client()).await;
    for other in [Tls::new(), Authority::new().client(), Tls::new().ca(authority.pem())] {
        let error = connect(&tls.cluster, other).await.unwrap_err().to_string();
        assert!(error.contains("certificate") && error.contains("`Tls::c"), "{error}");
    }
}

/// The servers name each other by address.
#[tokio::test]
async fn the_servers_of_a_cluster_may_have_another_name_than_their_addresses() {
    let authority = Authority::new();
    let tls = authority.cluster("redis.internal").await;
    all_works(&tls.cluster, || authority.client().server_name("redis.internal")).await;
    let error = connect(&tls.cluster, authority.client()).await.unwrap_err().to_string();
    assert!(error.contains("certificate is not accepted") && error.contains("server_name"), "{error}");
}
