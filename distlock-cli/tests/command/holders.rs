//! `distlock ls`, `who`, `wait` and `break`.

use serde_json::Value;
use test_support::{RedisServer, eventually};

use crate::{
    SOON,
    process::{Running, answer, distlock_at},
};

/// Starts a process that holds a key until its input is closed.
async fn hold(server: &RedisServer, key: &str) -> Running {
    let url = format!("{}?owner=pod-7", server.url());
    let arguments = ["run", key, "--ttl", "2s", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    Running::start(&mut distlock_at(&url, &arguments)).await
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn ls_lists_the_holders_of_a_prefix() {
    let server = RedisServer::start();
    let _held =
        [hold(&server, "order:42").await, hold(&server, "order:7").await, hold(&server, "report").await];
    server.command::<()>(&["SET", "lock:order:9", "1"]).await;
    let answer_of = async |arguments: &[&str]| answer(&mut distlock_at(&server.url(), arguments)).await;
    let table = answer_of(&["ls", "order:"]).await;
    let lines: Vec<_> = table.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}", table.stdout);
    assert!(lines[0].starts_with("KEY") && lines[0].contains("HOLDER"));
    assert!(lines[1].starts_with("order:42") && lines[1].contains("pod-7"));
    assert!(lines[3].starts_with("order:9") && lines[3].contains("(another library)"), "{}", lines[3]);
    let objects = answer_of(&["ls", "--json"]).await;
    let objects: Vec<_> = objects.stdout.lines().map(parse).collect();
    assert_eq!(objects.len(), 4);
    let of_report = objects.iter().find(|object| object["key"] == "report").expect("it is held");
    assert_eq!((&of_report["label"], &of_report["kind"]), (&"pod-7".into(), &"exclusive".into()));
    assert!(of_report["remaining_ms"].as_u64().is_some_and(|ms| ms <= 2_000), "{of_report}");
    assert_eq!(answer_of(&["ls", "none:"]).await.stdout.lines().count(), 1);
}

#[tokio::test]
async fn a_key_with_control_characters_does_not_reach_the_terminal() {
    let server = RedisServer::start();
    let _held = hold(&server, "evil\x1b[2J\n").await;
    for arguments in [&["ls"][..], &["who", "evil\x1b[2J\n"]] {
        let answer = answer(&mut distlock_at(&server.url(), arguments)).await;
        assert!(answer.stdout.contains("evil\\u{1b}[2J\\u{a}"), "{:?}", answer.stdout);
        assert!(!answer.stdout.contains('\x1b'));
    }
}

#[tokio::test]
async fn who_shows_the_holder_and_never_its_token() {
    let server = RedisServer::start();
    let free = answer(&mut distlock_at(&server.url(), &["who", "order:42"])).await;
    assert_eq!((free.status, &*free.stdout), (1, "`order:42` is free\n"));
    let _held = hold(&server, "order:42").await;
    let value: String = server.command(&["GET", "lock:order:42"]).await;
    let token = value.split(' ').next().expect("a token");
    for arguments in [&["who", "order:42"][..], &["who", "order:42", "--json"], &["ls", "--json"]] {
        let answer = answer(&mut distlock_at(&server.url(), arguments)).await;
        assert_eq!(answer.status, 0);
        assert!(answer.stdout.contains("pod-7"), "{}", answer.stdout);
        assert!(!answer.stdout.contains(token) && token.len() > 20, "{}", answer.stdout);
    }
}

#[tokio::test]
async fn wait_returns_when_the_key_is_free() {
    let server = RedisServer::start();
    let held = hold(&server, "order:42").await;
    let over = answer(&mut distlock_at(&server.url(), &["wait", "order:42", "--timeout", "300ms"])).await;
    assert_eq!(over.status, 75);
    assert!(over.stderr.contains("`order:42` is still held by pod-7"), "{}", over.stderr);
    let mut waiter = Running::start_without_waiting(&mut distlock_at(&server.url(), &["wait", "order:42"]));
    held.signal("TERM").await;
    assert_eq!(waiter.ended().await, (0, String::new()));
    assert!(!server.has("lock:order:42").await);
}

#[tokio::test]
async fn break_ends_the_lease_of_the_holder_that_was_seen_and_of_no_other() {
    let server = RedisServer::start();
    let mut held = hold(&server, "order:42").await;
    let answer_of = async |arguments: &[&str]| answer(&mut distlock_at(&server.url(), arguments)).await;
    let asked = answer_of(&["break", "order:42"]).await;
    assert_eq!(asked.status, 64);
    assert!(asked.stderr.contains("add `--yes`") && asked.stderr.contains("pod-7"), "{}", asked.stderr);
    let other = "0".repeat(40);
    let refused = answer_of(&["break", "order:42", "--yes", "--id", &other]).await;
    assert_eq!(refused.status, 75, "{}", refused.stderr);
    assert!(server.has("lock:order:42").await);
    let id = parse(&answer_of(&["who", "order:42", "--json"]).await.stdout)["id"].clone();
    let broken = answer_of(&["break", "order:42", "--yes", "--id", id.as_str().expect("an id")]).await;
    assert_eq!(broken.status, 0, "{}", broken.stderr);
    eventually(SOON, async || !server.has("lock:order:42").await).await;
    assert_eq!(held.ended().await.0, 74, "its command is stopped at the next renewal");
    assert_eq!(answer_of(&["break", "order:42", "--yes"]).await.status, 1);
}
