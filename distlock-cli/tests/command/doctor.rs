//! `distlock doctor`: which promises hold on a server, also on one that `connect` refuses.

use serde_json::Value;
use test_support::{RedisServer, free_port};

use crate::process::{answer, distlock_at};

/// The state and the finding of a check.
fn check<'a>(report: &'a Value, name: &str) -> (&'a str, &'a str) {
    let checks = report["checks"].as_array().expect("checks");
    let check =
        checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
    (check["state"].as_str().expect("a state"), check["finding"].as_str().expect("a finding"))
}

async fn report(url: &str) -> (i32, Value) {
    let answer = answer(&mut distlock_at(url, &["doctor", "--json"])).await;
    (answer.status, serde_json::from_str(&answer.stdout).expect("JSON"))
}

#[tokio::test]
async fn a_server_that_is_fine_is_a_table_of_checks() {
    let server = RedisServer::start_with(&["--appendonly", "yes"]);
    let answer = answer(&mut distlock_at(&server.url(), &["doctor"])).await;
    assert_eq!(answer.status, 0, "{}", answer.stdout);
    for said in [
        "version",
        "role",
        "rights: locks",
        "rights: waiters",
        "RESP3",
        "tracking",
        "commands",
        "eviction",
        "persistence",
        "round trip",
        "clock",
    ] {
        let line = answer.stdout.lines().find(|line| line.contains(said)).expect(said);
        assert!(line.contains(&format!("127.0.0.1:{}", server.port())) && line.contains("  OK  "), "{line}");
    }
    assert_eq!(report(&server.url()).await.1["worst"], "ok");
}

#[tokio::test]
async fn what_is_weak_is_no_failure_and_says_what_to_change() {
    let server = RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let (status, report) = report(&server.url()).await;
    assert_eq!((status, &report["worst"]), (0, &Value::from("weak")));
    assert!(check(&report, "eviction").1.contains("set `maxmemory-policy noeviction`"));
    assert!(check(&report, "persistence").1.contains("set `appendonly yes`"));
}

#[tokio::test]
async fn a_server_that_connect_refuses_is_diagnosed() {
    let cluster = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let sentinel = RedisServer::start_sentinel();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1 1"]);
    for (url, name) in [(sentinel.url(), "kind"), (cluster.url(), "kind"), (replica.url(), "role")] {
        let (status, report) = report(&url).await;
        assert_eq!((status, check(&report, name).0), (1, "broken"), "{report}");
    }
}

#[tokio::test]
async fn a_missing_right_is_broken_or_weak_and_named() {
    let server = RedisServer::start();
    for (missing, check_name, state) in
        [("set", "commands", "broken"), ("time", "fencing", "weak"), ("zadd", "waiters", "weak")]
    {
        server
            .command::<()>(&[
                "ACL",
                "SETUSER",
                "guest",
                "reset",
                "on",
                ">secret",
                "~*",
                "&*",
                "+@all",
                &format!("-{missing}"),
            ])
            .await;
        let url = format!("redis://guest:secret@127.0.0.1:{}/", server.port());
        let (status, report) = report(&url).await;
        let (found, finding) = check(&report, check_name);
        assert_eq!((found, status), (state, i32::from(state == "broken")), "{report}");
        assert!(finding.contains(&format!("+{missing}")), "{finding}");
        // Right by right.
        let rights = &report["servers"][0]["rights"];
        for (command, is_allowed) in rights.as_object().expect("rights") {
            assert_eq!(*is_allowed, *command != missing.to_uppercase(), "{command}: {rights}");
        }
        assert!(rights.as_object().expect("rights").len() > 20, "{rights}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_broken() {
    let (status, report) = report(&format!("redis://:secret@127.0.0.1:{}/", free_port())).await;
    assert_eq!((status, check(&report, "reachable").0), (1, "broken"));
    assert!(!report.to_string().contains("secret"), "{report}");
}

#[tokio::test]
async fn two_nodes_that_are_one_server_are_broken() {
    let server = RedisServer::start();
    let port = server.port();
    let url = format!("redlock://127.0.0.1:{port},localhost:{port}/?restart_delay=0");
    let (status, report) = report(&url).await;
    assert_eq!((status, check(&report, "connect").0), (1, "broken"), "{report}");
    assert!(check(&report, "connect").1.contains("one server under two names"), "{report}");
}
