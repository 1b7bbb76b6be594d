//! Each command on a cluster, on a quorum and behind sentinels.

use serde_json::Value;
use test_support::{RedisCluster, RedisServer, Watched};

use crate::{
    process::{Running, answer, distlock_at},
    terminal::Screen,
    ui,
};

/// Holds one key, and lets the other commands find it, wait for it and break it.
async fn shows_and_breaks(url: &str, key: &str) {
    let labelled =
        if url.contains('?') { format!("{url}&owner=pod-7") } else { format!("{url}?owner=pod-7") };
    let arguments = ["run", key, "--ttl", "1s", "--fenced", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let mut held = Running::start(&mut distlock_at(&labelled, &arguments)).await;
    let answer_of = async |arguments: &[&str]| answer(&mut distlock_at(url, arguments)).await;
    let listed = answer_of(&["ls", "order:", "--json"]).await;
    assert_eq!(listed.status, 0, "{}", listed.stderr);
    let objects: Vec<Value> = listed.stdout.lines().map(parse).collect();
    assert_eq!(objects.len(), 1, "{}", listed.stdout);
    let who = answer_of(&["who", key, "--json"]).await;
    assert_eq!(who.status, 0, "{}", who.stderr);
    for holder in [&objects[0], &parse(&who.stdout)] {
        let named = (&holder["key"], &holder["label"], &holder["kind"]);
        assert_eq!(named, (&key.into(), &"pod-7".into(), &"exclusive".into()));
        assert!(holder["remaining_ms"].as_u64().is_some_and(|ms| ms <= 1_000), "{holder}");
    }
    shown_live(url, key).await;
    let busy = answer_of(&["run", key, "--", "true"]).await;
    assert_eq!(busy.status, 75, "{}", busy.stderr);
    let over = answer_of(&["wait", key, "--timeout", "100ms", "--json"]).await;
    assert_eq!((over.status, &parse(&over.stdout)["free"]), (75, &false.into()), "{}", over.stderr);
    let second = ["run", key, "--wait", "forever", "--", "echo", "second"];
    let mut second = Running::start_without_waiting(&mut distlock_at(url, &second));
    let mut free = Running::start_without_waiting(&mut distlock_at(url, &["wait", key, "--json"]));
    let broken = answer_of(&["break", key, "--yes", "--json"]).await;
    assert_eq!((broken.status, &parse(&broken.stdout)["label"]), (0, &"pod-7".into()), "{}", broken.stderr);
    assert_eq!(held.ended().await.0, 74, "its command is stopped at the next renewal");
    assert_eq!(second.rest().await, ["second"], "the first waiter gets the key");
    assert_eq!(second.ended().await.0, 0);
    assert_eq!(parse(&free.rest().await.concat())["free"], true);
    assert_eq!(free.ended().await.0, 0);
    let nobody = answer_of(&["who", key, "--json"]).await;
    assert_eq!((nobody.status, &*nobody.stdout), (1, "null\n"));
}

/// Asserts that `top` and `ui` show the holder.
async fn shown_live(url: &str, key: &str) {
    let mut screen = Screen::distlock(&["top", "order:"], url, 24, 100);
    screen.wait_for(|text| text.contains(key) && text.contains("pod-7")).await;
    screen.press("q").await;
    assert_eq!(screen.ended().await, 0, "{}", screen.text());
    let (_page, address, _) = ui::start_at(url, &["order:"]).await;
    let view = ui::first_view(&address).await;
    assert_eq!((&view["holders"], &view["error"]), (&1.into(), &Value::Null), "{view}");
    assert_eq!((&view["rows"][0]["key"], &view["rows"][0]["label"]), (&key.into(), &"pod-7".into()));
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
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

#[tokio::test]
async fn top_and_ui_follow_a_failover() {
    let watched = Watched::start().await;
    let mut screen = Screen::distlock(&["top"], &watched.url(), 24, 100);
    screen.wait_for(|text| text.contains("holders 0")).await;
    let (_page, address, _) = ui::start_at(&watched.url(), &[]).await;
    ui::first_view(&address).await;
    watched.fail_over().await;
    let url = format!("{}?owner=pod-7", watched.url());
    let arguments = ["run", "order:1", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let _held = Running::start(&mut distlock_at(&url, &arguments)).await;
    screen.wait_for(|text| text.contains("order:1") && text.contains("pod-7")).await;
    let view = ui::view(&address, |view| view["holders"] == 1).await;
    assert_eq!(view["rows"][0]["label"], "pod-7");
}
