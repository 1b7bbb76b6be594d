//! `distlock run`: a command whose lock is lost does not go on.

use std::time::{Duration, Instant};

use test_support::{RedisServer, eventually};

use crate::{
    SOON,
    process::{Running, STUBBORN, distlock_at, last_time, since_1970},
};

/// Starts a shell script under the lock `order:42`.
async fn start(server: &RedisServer, ttl: &str, more: &[&str], script: &str) -> Running {
    let arguments = [&["run", "order:42", "--ttl", ttl], more, &["--", "sh", "-c", script]].concat();
    Running::start(&mut distlock_at(&server.url(), &arguments)).await
}

#[tokio::test]
async fn a_deleted_key_asks_the_command_to_end() {
    let server = RedisServer::start();
    let script = "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    let mut running = start(&server, "3s", &["--grace", "1s"], script).await;
    server.command::<()>(&["DEL", "lock:order:42"]).await;
    assert_eq!(running.rest().await, ["asked"]);
    let (status, messages) = running.ended().await;
    assert_eq!(status, 74);
    assert!(
        messages.contains("lock on `order:42` was lost: the key was deleted or taken over on the server"),
        "{messages}"
    );
    let ours = messages.lines().filter(|line| line.starts_with("distlock:"));
    assert_eq!(ours.count(), 1, "{messages}");
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed() {
    let server = RedisServer::start();
    let mut running = start(&server, "3s", &["--grace", "100ms"], STUBBORN).await;
    server.command::<()>(&["DEL", "lock:order:42"]).await;
    let deleted = Instant::now();
    running.rest().await;
    // It is found at the next renewal, after a second.
    assert!(deleted.elapsed() < Duration::from_secs(3), "{:?}", deleted.elapsed());
    assert_eq!(running.ended().await.0, 74);
}

#[tokio::test]
async fn a_server_that_has_gone_ends_the_command_before_its_lease() {
    let mut server = RedisServer::start();
    let mut running = start(&server, "2s", &[], STUBBORN).await;
    server.stop();
    let stopped = since_1970();
    let lines = running.rest().await;
    // The latest renewal was sent before the server stopped.
    assert!(last_time(&lines) < stopped + Duration::from_secs(2), "{lines:?}");
    let (status, messages) = running.ended().await;
    assert_eq!(status, 74, "{messages}");
    assert!(messages.contains("was lost: the lease ran out before it was renewed"), "{messages}");
}

#[tokio::test]
async fn what_the_command_has_started_is_killed_too() {
    let server = RedisServer::start();
    let script = "(trap '' TERM; echo ready; while :; do sleep 0.02; done) & wait";
    let mut running = start(&server, "1s", &[], script).await;
    server.command::<()>(&["DEL", "lock:order:42"]).await;
    // Its output ends when the inner shell does.
    assert_eq!(running.rest().await, [""; 0]);
    assert_eq!(running.ended().await.0, 74);
}

#[tokio::test]
async fn a_distlock_that_was_stopped_past_the_lease_kills_the_process_group_on_resuming() {
    let server = RedisServer::start();
    let child_of_the_command =
        "echo ready; (trap '' TERM; while :; do date +%s%N; sleep 0.02; done) & trap '' TERM; wait";
    for script in [STUBBORN, child_of_the_command] {
        let mut running = start(&server, "2s", &["--grace", "1s"], script).await;
        running.signal("STOP").await;
        eventually(SOON, async || !server.has("lock:order:42").await).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Another holder may begin, which distlock cannot prevent now.
        running.signal("CONT").await;
        let resumed = since_1970();
        let lines = running.rest().await;
        // No grace time is left to grant.
        assert!(last_time(&lines) < resumed + Duration::from_millis(900), "{lines:?}");
        assert_eq!(running.ended().await.0, 74);
    }
}

#[tokio::test]
async fn a_command_that_ended_after_its_lease_is_reported_as_lost() {
    let server = RedisServer::start();
    let mut running = start(&server, "1s", &[], "echo ready; sleep 1.5; exit 0").await;
    running.signal("STOP").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.signal("CONT").await;
    assert_eq!(running.ended().await.0, 74);
}
