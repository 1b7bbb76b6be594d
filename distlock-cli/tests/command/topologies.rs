//! `distlock run`, `ls`, `who`, `break` and `doctor` on a cluster, on a quorum and behind sentinels.

use serde_json::Value;
use test_support::{RedisCluster, RedisServer, Watched};

use crate::process::{Running, answer, distlock_at};

/// Holds one key, and lets the other commands find and break it.
async fn shows_and_breaks(url: &str, key: &str) {
    let labelled =
        if url.contains('?') { format!("{url}&owner=pod-7") } else { format!("{url}?owner=pod-7") };
    let arguments = ["run", key, "--ttl", "1s", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let mut held = Running::start(&mut distlock_at(&labelled, &arguments)).await;
    let answer_of = async |arguments: &[&str]| answer(&mut distlock_at(url, arguments)).await;
    let listed = answer_of(&["ls", "order:", "--json"]).await;
    assert_eq!(listed.status, 0, "{}", listed.stderr);
    let objects: Vec<Value> =
        listed.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let keys: Vec<_> = objects.iter().map(|object| (&object["key"], &object["label"])).collect();
    assert_eq!(keys, [(&Value::from(key), &Value::from("pod-7"))]);
    let who = answer_of(&["who", key]).await;
    assert!(who.status == 0 && who.stdout.contains("pod-7"), "{}{}", who.stdout, who.stderr);
    let busy = answer_of(&["run", key, "--", "true"]).await;
    assert_eq!(busy.status, 75, "{}", busy.stderr);
    let broken = answer_of(&["break", key, "--yes"]).await;
    assert_eq!(broken.status, 0, "{}", broken.stderr);
    assert_eq!(held.ended().await.0, 74, "its command is stopped at the next renewal");
    assert_eq!(answer_of(&["who", key]).await.status, 1);
}

/// Asserts that `doctor` has rows for each of these servers, and finds nothing broken.
async fn is_sound(url: &str, servers: &[String]) {
    let report = answer(&mut distlock_at(url, &["doctor", "--json"])).await;
    assert_eq!(report.status, 0, "{}{}", report.stdout, report.stderr);
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    for server in servers {
        for name in ["kind", "version", "role", "rights: locks", "round trip"] {
            let is_it = |check: &Value| check["server"] == **server && check["check"] == name;
            let row =
                checks.iter().find(|check| is_it(check)).unwrap_or_else(|| panic!("{name}: {checks:?}"));
            assert_eq!(row["state"], "ok", "{row}");
        }
    }
    assert!(checks.iter().all(|check| check["check"] != "other"), "{checks:?}");
}

fn addresses<'a>(servers: impl IntoIterator<Item = &'a RedisServer>) -> Vec<String> {
    servers.into_iter().map(|server| format!("127.0.0.1:{}", server.port())).collect()
}

#[tokio::test]
async fn a_cluster_shows_and_breaks_a_lock_of_each_primary() {
    let cluster = tokio::task::spawn_blocking(RedisCluster::start).await.expect("a cluster");
    for primary in 0..3 {
        let key = cluster.name_at("order:", primary).await;
        shows_and_breaks(&cluster.url(), &key).await;
    }
    is_sound(&cluster.url(), &addresses(cluster.primaries())).await;
}

#[tokio::test]
async fn a_quorum_shows_and_breaks_the_lock_of_a_majority() {
    let mut servers = [(); 3].map(|()| RedisServer::start());
    let hosts = addresses(&servers);
    let url = format!("redlock://{}/?restart_delay=0", hosts.join(","));
    is_sound(&url, &hosts).await;
    shows_and_breaks(&url, "order:1").await;
    servers[2].stop();
    shows_and_breaks(&url, "order:2").await;
}

#[tokio::test]
async fn the_primary_that_sentinels_name_shows_and_breaks_a_lock() {
    let watched = Watched::start().await;
    shows_and_breaks(&watched.url(), "order:1").await;
    let (sentinels, service) = (addresses(&watched.sentinels).join(","), Watched::SERVICE);
    is_sound(&watched.url(), &[format!("{service} of {sentinels}")]).await;
}
