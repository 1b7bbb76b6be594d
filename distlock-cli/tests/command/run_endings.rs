//! `distlock run`: the command's own status, its input and output, and its environment.

use std::{process::Stdio, time::Duration};

use test_support::{RedisServer, eventually, in_time};
use tokio::io::AsyncWriteExt;

use crate::{
    SOON,
    process::{Running, answer, distlock_at},
};

#[tokio::test]
async fn the_status_is_that_of_the_command() {
    let server = RedisServer::start();
    for (command, status) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["distlock-has-no-such-program"], 127),
        (&["/"], 126),
    ] {
        let arguments = [&["run", "order:42", "--"], command].concat();
        let answer = answer(&mut distlock_at(&server.url(), &arguments)).await;
        assert_eq!(answer.status, status, "{command:?}: {}", answer.stderr);
        assert_eq!(answer.stderr.is_empty(), !matches!(status, 126 | 127), "{}", answer.stderr);
        assert_eq!(server.keys().await, [""; 0], "the key is free when distlock has ended");
    }
}

#[tokio::test]
async fn arguments_input_and_output_pass_unchanged() {
    let server = RedisServer::start();
    let script = "printf '%s|' \"$@\"; cat; echo to stderr >&2";
    let mut command =
        distlock_at(&server.url(), &["run", "k", "--", "sh", "-c", script, "sh", "--url", "-E"]);
    command.args(["", "a b"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\0in\xff").await.unwrap();
    let output = in_time(SOON, child.wait_with_output()).await.unwrap();
    assert_eq!(output.stdout, b"--url|-E||a b|\0in\xff");
    assert_eq!(output.stderr, b"to stderr\n");
}

#[tokio::test]
async fn a_command_whose_reader_has_gone_ends_as_without_distlock() {
    let server = RedisServer::start();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let answer =
        answer(distlock_at(&server.url(), &["run", "k", "--", "yes"]).stdout(Stdio::from(writer))).await;
    assert_eq!(answer.status, 128 + 13, "{}", answer.stderr);
}

#[tokio::test]
async fn a_busy_key_is_a_status_and_the_command_does_not_run() {
    let server = RedisServer::start();
    let holder = ["run", "order:42", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let _holder = Running::start(&mut distlock_at(&server.url(), &holder)).await;
    for (option, status) in [(&[][..], 75), (&["-E", "9"], 9), (&["--conflict-exit-code", "0"], 0)] {
        let arguments = [&["run", "order:42"], option, &["--", "echo", "ran"]].concat();
        let answer = answer(&mut distlock_at(&server.url(), &arguments)).await;
        assert_eq!((answer.status, &*answer.stdout), (status, ""), "{}", answer.stderr);
        assert_eq!(answer.stderr.contains("lock on `order:42` is busy"), status != 0, "{}", answer.stderr);
    }
}

#[tokio::test]
async fn a_waiter_runs_when_the_key_is_released() {
    let server = RedisServer::start();
    let holder = ["run", "order:42", "--", "sh", "-c", "echo ready; read line"];
    let mut holder = Running::start(distlock_at(&server.url(), &holder).stdin(Stdio::piped())).await;
    for wait in ["1m", "forever"] {
        let arguments = ["run", "order:42", "--wait", wait, "--", "sh", "-c", "echo ready; read line"];
        let mut waiter =
            Running::start_without_waiting(distlock_at(&server.url(), &arguments).stdin(Stdio::piped()));
        eventually(SOON, async || server.wait_queue_of("lock:order:42").await.is_some()).await;
        drop(holder.child.stdin.take());
        assert_eq!(waiter.line().await.as_deref(), Some("ready"));
        holder = waiter;
    }
    drop(holder.child.stdin.take());
    assert_eq!(holder.ended().await.0, 1);
    assert_eq!(server.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_wait_that_is_over_is_busy() {
    let server = RedisServer::start();
    let holder = ["run", "order:42", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let _holder = Running::start(&mut distlock_at(&server.url(), &holder)).await;
    let answer =
        answer(&mut distlock_at(&server.url(), &["run", "order:42", "--wait", "200ms", "--", "true"])).await;
    assert_eq!(answer.status, 75, "{}", answer.stderr);
}

#[tokio::test]
async fn the_environment_has_the_key_and_a_fencing_token_that_rises() {
    let server = RedisServer::start();
    let script = "echo $DISTLOCK_KEY $DISTLOCK_FENCE";
    let mut last = 0;
    for _ in 0..3 {
        let arguments = ["run", "order:42", "--fenced", "--", "sh", "-c", script];
        let answer = answer(&mut distlock_at(&server.url(), &arguments)).await;
        let (key, fence) = answer.stdout.trim().split_once(' ').expect("key and token");
        assert_eq!(key, "order:42");
        let fence: u64 = fence.parse().expect("a number");
        assert!(fence > last, "{fence} after {last}");
        last = fence;
    }
}

#[tokio::test]
async fn a_token_of_another_lock_is_not_inherited() {
    let server = RedisServer::start();
    let mut command =
        distlock_at(&server.url(), &["run", "inner", "--", "sh", "-c", "echo ${DISTLOCK_FENCE-none}"]);
    let answer = answer(command.env("DISTLOCK_FENCE", "7")).await;
    assert_eq!(answer.stdout, "none\n");
}

#[tokio::test]
async fn at_least_keeps_the_key_after_a_quick_command() {
    let server = RedisServer::start();
    let arguments = ["run", "nightly", "--ttl", "1m", "--at-least", "1m", "--", "true"];
    assert_eq!(answer(&mut distlock_at(&server.url(), &arguments)).await.status, 0);
    assert_eq!(answer(&mut distlock_at(&server.url(), &arguments)).await.status, 75);
}

#[tokio::test]
async fn a_lease_is_renewed_for_as_long_as_the_command_runs() {
    let server = RedisServer::start();
    let arguments = ["run", "order:42", "--ttl", "500ms", "--", "sh", "-c", "echo ready; sleep 3; exit 5"];
    let mut holder = Running::start(&mut distlock_at(&server.url(), &arguments)).await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(server.has("lock:order:42").await);
    }
    assert_eq!(holder.ended().await, (5, String::new()));
}
