//! A URL that does not fit its servers is refused with a sentence, and a cluster is diagnosed as a whole.

use distlock::{CheckState, CheckSubject, ClusterStore, LockError, LockManager, OwnerToken, Store};
use distlock_store_tests::{contract, hand_over};
use test_support::{RedisServer, free_port};

use super::{SOON, connect, key, own, shared};

async fn refusal(url: &str) -> String {
    LockManager::connect(url).await.map(drop).unwrap_err().to_string()
}

#[tokio::test]
async fn a_node_of_a_cluster_by_a_plain_url_is_refused_and_the_right_url_named() {
    let message = refusal(&shared().await.urls()[1]).await;
    assert!(message.contains("is a node of a Redis Cluster"), "{message}");
    assert!(message.contains("`redis-cluster://host`"), "{message}");
}

#[tokio::test]
async fn a_server_of_its_own_by_a_clusters_url_is_refused() {
    let server = RedisServer::start();
    let url = server.url().replace("redis://", "redis-cluster://");
    let error = LockManager::connect(&url).await.map(drop).unwrap_err();
    assert!(matches!(error, LockError::Config { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("not a node of a Redis Cluster; name it by `redis://`"), "{message}");
    let locks = LockManager::builder().url(url).build().unwrap();
    assert!(matches!(locks.lock("k").acquire().await.unwrap_err(), LockError::Config { .. }));
    let diagnosis = locks.diagnose().await;
    assert_eq!(diagnosis.servers[0].check(CheckSubject::Kind).unwrap().state, CheckState::Broken);
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_is_an_error_that_names_a_server() {
    let url = format!("redis-cluster://127.0.0.1:{}", free_port());
    let error = LockManager::connect(&url).await.map(drop).unwrap_err();
    assert!(matches!(error, LockError::Store { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_cluster_has_no_database_to_choose() {
    let cluster = shared().await;
    for (url, part) in [
        (format!("{}/3", cluster.url()), "takes no database"),
        (format!("{}?db=3", cluster.url()), "parameter `db` means nothing with `redis-cluster://`"),
        ("redis-cluster://a@b@c".to_owned(), "two `@`"),
    ] {
        let message = refusal(&url).await;
        assert!(message.contains(part), "{message}");
    }
    LockManager::connect(&format!("{}/0?ttl=5s&namespace=other", cluster.url())).await.unwrap();
}

#[tokio::test]
async fn a_diagnosis_covers_every_primary() {
    let cluster = shared().await;
    let locks = connect(cluster).await;
    let diagnosis = locks.diagnose().await;
    let names: std::collections::BTreeSet<_> =
        diagnosis.servers.iter().map(|server| server.name.clone()).collect();
    let ports = cluster.primaries().map(|server| format!("127.0.0.1:{}", server.port())).collect();
    assert_eq!(names, ports);
    for server in &diagnosis.servers {
        for subject in
            [CheckSubject::Kind, CheckSubject::Commands, CheckSubject::Fencing, CheckSubject::Waiters]
        {
            let check = server.check(subject).unwrap();
            assert_eq!(check.state, CheckState::Ok, "{}: {}", server.name, check.finding);
        }
    }
    assert!(diagnosis.clock_spread().is_some());
}

#[tokio::test]
async fn two_more_rights_than_on_one_server_are_enough() {
    let cluster = own().await;
    let page = include_str!("../../docs/operations.md");
    let rules = page.lines().find(|line| line.starts_with("ACL SETUSER locks")).unwrap();
    let rules = format!("{rules} +cluster|slots +asking");
    for server in cluster.primaries() {
        server.command::<()>(&rules.split(' ').collect::<Vec<_>>()).await;
    }
    let urls: Vec<_> =
        cluster.urls().iter().map(|url| url.replace("redis://", "redis://locks:secret@")).collect();
    let open = || ClusterStore::open(urls.iter().map(|url| &**url)).unwrap();
    let store = open();
    contract(&store).await;
    hand_over(&store, &open()).await;
    let name = cluster.name_at("{acl-", 0).await + "}";
    let slot = cluster.slot_of(&format!("lock:{name}")).await;
    let from = cluster.first_owner_of(slot);
    cluster.begin_move(slot, from, (from + 1) % 3).await;
    let owner = OwnerToken::random();
    store.acquire(&key(&name), &owner, SOON, false).await.unwrap();
    assert!(store.renew(&key(&name), &owner, SOON).await.unwrap());
    assert!(store.release(&key(&name), &owner).await.unwrap());
}
