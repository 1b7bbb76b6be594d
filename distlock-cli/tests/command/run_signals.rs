//! `distlock run`: signals to distlock.

use std::{process::Stdio, time::Duration};

use test_support::{RedisServer, eventually, in_time};

use crate::{
    SOON,
    process::{Running, distlock_at},
};

/// Whether this process was started with the signal ignored, as `nohup` and a shell's `&` do. Its children
/// ignore the signal then, and a shell cannot trap it.
pub(crate) fn is_ignored(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}

#[tokio::test]
async fn signals_are_forwarded_to_the_command() {
    let server = RedisServer::start();
    for (signal, number) in [("HUP", 1), ("INT", 2), ("QUIT", 3), ("TERM", 15), ("USR1", 10), ("USR2", 12)] {
        if is_ignored(number) {
            continue;
        }
        let script =
            format!("trap 'echo {signal}; exit 5' {signal}; echo ready; while :; do sleep 0.02; done");
        let arguments = ["run", "order:42", "--", "sh", "-c", &script];
        let mut running = Running::start(&mut distlock_at(&server.url(), &arguments)).await;
        running.signal(signal).await;
        assert_eq!(running.rest().await, [signal]);
        assert_eq!(running.ended().await.0, 5);
        assert_eq!(server.keys().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_command_that_a_signal_ended_is_a_status() {
    let server = RedisServer::start();
    let arguments = ["run", "order:42", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let mut running = Running::start(&mut distlock_at(&server.url(), &arguments)).await;
    running.signal("TERM").await;
    assert_eq!(running.ended().await.0, 143);
}

#[tokio::test]
async fn a_hangup_that_is_ignored_stays_ignored() {
    let server = RedisServer::start();
    let script = "echo ready; read line; echo still here";
    let inner = ["run", "order:42", "--", "sh", "-c", script];
    let distlock = distlock_at(&server.url(), &inner);
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(distlock.as_std().get_program());
    command.args(inner).env("DISTLOCK_URL", server.url());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command.kill_on_drop(true)).await;
    running.signal("HUP").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(running.child.stdin.take());
    assert_eq!(running.rest().await, ["still here"]);
    assert_eq!(running.ended().await.0, 0);
}

#[tokio::test]
async fn a_signal_ends_a_wait_and_leaves_nothing_behind() {
    let server = RedisServer::start();
    let holder = ["run", "order:42", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let holder = Running::start(&mut distlock_at(&server.url(), &holder)).await;
    let arguments = ["run", "order:42", "--wait", "forever", "--", "echo", "ran"];
    let mut waiter = Running::start_without_waiting(&mut distlock_at(&server.url(), &arguments));
    eventually(SOON, async || server.wait_queue_of("lock:order:42").await.is_some()).await;
    waiter.signal("TERM").await;
    assert_eq!(waiter.rest().await, [""; 0]);
    assert_eq!(waiter.ended().await, (143, String::new()));
    assert_eq!(server.wait_queue_of("lock:order:42").await, None);
    drop(holder);
}

/// The second process of a `distlock run`, which kills the command if `distlock` ends in another way.
#[cfg(target_os = "linux")]
async fn guard_of(distlock: u32) -> String {
    let children = format!("/proc/{distlock}/task/{distlock}/children");
    let guard = async || {
        let children = std::fs::read_to_string(&children).unwrap();
        let is_guard = |child: &&str| {
            let words = std::fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
            words.contains("__guard")
        };
        children.split_whitespace().find(is_guard).map(str::to_owned)
    };
    eventually(SOON, async || guard().await.is_some()).await;
    guard().await.unwrap()
}

#[cfg(target_os = "linux")]
async fn signal(process: &str, signal: &str) {
    let sent = tokio::process::Command::new("kill").args([&format!("-{signal}"), process]).status().await;
    assert!(sent.unwrap().success());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_distlock_that_is_killed_takes_the_command_along_and_leaves_the_key_to_its_ttl() {
    let server = RedisServer::start();
    let arguments = ["run", "order:42", "--ttl", "2s", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let mut running = Running::start(&mut distlock_at(&server.url(), &arguments)).await;
    // It would kill the command if the kernel did not.
    signal(&guard_of(running.child.id().unwrap()).await, "KILL").await;
    running.signal("KILL").await;
    assert_eq!(running.rest().await, [""; 0], "the command has ended");
    assert!(server.has("lock:order:42").await, "nobody has released it");
    eventually(Duration::from_secs(3), async || !server.has("lock:order:42").await).await;
}

#[tokio::test]
async fn a_distlock_that_is_killed_takes_along_what_its_command_has_started() {
    let server = RedisServer::start();
    let script = "(trap '' HUP; echo ready; while :; do sleep 0.02; done) & wait";
    let arguments = ["run", "order:42", "--ttl", "2s", "--", "sh", "-c", script];
    let mut running = Running::start(&mut distlock_at(&server.url(), &arguments)).await;
    running.signal("KILL").await;
    // Its output ends when the inner shell does.
    assert_eq!(running.rest().await, [""; 0]);
}

// The guard is in the terminal's group for a moment, as every process that `distlock` starts.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_signal_to_its_guard_leaves_the_command_guarded() {
    let server = RedisServer::start();
    let script = "(trap '' HUP; echo ready; while :; do sleep 0.02; done) & wait";
    let arguments = ["run", "order:42", "--ttl", "2s", "--", "sh", "-c", script];
    let mut running = Running::start(&mut distlock_at(&server.url(), &arguments)).await;
    let guard = guard_of(running.child.id().unwrap()).await;
    for name in ["INT", "QUIT", "TERM", "HUP"] {
        signal(&guard, name).await;
    }
    running.signal("KILL").await;
    assert_eq!(running.rest().await, [""; 0]);
}

#[tokio::test]
async fn what_a_command_leaves_running_goes_on() {
    let server = RedisServer::start();
    let script = "(read -r line; echo still here) <&3 & echo ready";
    let arguments = ["run", "order:42", "--", "sh", "-c", &format!("exec 3<&0; {script}")];
    let mut running = Running::start(distlock_at(&server.url(), &arguments).stdin(Stdio::piped())).await;
    let input = running.child.stdin.take();
    let ended = in_time(SOON, running.child.wait()).await.unwrap();
    assert!(ended.success(), "distlock waits for its command only");
    drop(input);
    assert_eq!(running.rest().await, ["still here"]);
}
