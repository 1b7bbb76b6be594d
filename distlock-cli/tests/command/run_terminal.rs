//! `distlock run` at a terminal: the command may read from it, and its keys mean what they mean without
//! `distlock`.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use test_support::{RedisServer, eventually};

use crate::{SOON, run_signals::is_ignored, terminal::Screen};

#[tokio::test]
async fn a_command_can_read_from_the_terminal() {
    let server = RedisServer::start();
    let script = "read -r line; echo \"got $line\"";
    let mut screen = Screen::distlock(&["run", "order:42", "--", "sh", "-c", script], &server.url(), 24, 80);
    screen.press("hello\r").await;
    screen.wait_for(|text| text.contains("got hello")).await;
    assert_eq!(screen.ended().await, 0);
}

// A shell that runs one program after the other misses an interrupt between two of them, with and without
// `distlock`. So the commands of these tests are one process.
#[tokio::test]
async fn the_interrupt_key_ends_a_command_that_has_not_read_anything() {
    // The command would ignore it, too.
    if is_ignored(2) {
        return;
    }
    let server = RedisServer::start();
    let arguments = ["run", "order:42", "--", "sh", "-c", "echo ready; exec cat"];
    let mut screen = Screen::distlock(&arguments, &server.url(), 24, 80);
    screen.wait_for(|text| text.contains("ready")).await;
    screen.press("\x03").await;
    assert_eq!(screen.ended().await, 130);
    assert_eq!(server.keys().await, [""; 0]);
}

#[tokio::test]
async fn the_interrupt_key_ends_it_at_every_moment_of_its_start() {
    if is_ignored(2) {
        return;
    }
    let server = RedisServer::start();
    for milliseconds in 0..40 {
        let mut screen = Screen::distlock(&["run", "order:42", "--", "cat"], &server.url(), 24, 80);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        screen.press("\x03").await;
        let status = screen.status().await;
        // Before `distlock` is ready to receive signals, this one kills it.
        let is_killed = status.signal() == Some(2);
        assert!(is_killed || status.code() == Some(130), "{milliseconds} ms: {status}, {}", screen.text());
        assert_eq!(server.keys().await, [""; 0], "{milliseconds} ms");
    }
}

#[tokio::test]
async fn a_script_gets_the_terminal_back() {
    let server = RedisServer::start();
    let script = "\"$0\" run order:42 -- sh -c 'read -r line; echo \"inner $line\"'; read -r line; echo \"outer $line\"";
    let arguments = ["-c", script, env!("CARGO_BIN_EXE_distlock")];
    let mut screen = Screen::start("sh", &arguments, &server.url(), 24, 80);
    eventually(SOON, async || server.has("lock:order:42").await).await;
    screen.press("one\r").await;
    screen.wait_for(|text| text.contains("inner one")).await;
    screen.press("two\r").await;
    screen.wait_for(|text| text.contains("outer two")).await;
    assert_eq!(screen.ended().await, 0);
}

#[tokio::test]
async fn the_suspend_key_stops_the_job_and_fg_resumes_it() {
    let server = RedisServer::start();
    let arguments = ["--norc", "-i"];
    let mut screen = Screen::start("bash", &arguments, &server.url(), 40, 100);
    let distlock = env!("CARGO_BIN_EXE_distlock");
    screen.press("PS1='$ '; echo be''gun\r").await;
    screen.wait_for(|text| text.contains("begun")).await;
    screen
        .press(&format!(
            "{distlock} run order:42 -- sh -c 'read -r a; echo got $a; read -r b; echo then $b'\r"
        ))
        .await;
    eventually(SOON, async || server.has("lock:order:42").await).await;
    screen.press("one\r").await;
    screen.wait_for(|text| text.contains("\ngot one")).await;
    screen.press("\x1a").await;
    screen.wait_for(|text| text.contains("Stopped")).await;
    screen.press("fg\r").await;
    // What is typed before the shell has passed the terminal on is the shell's.
    screen.wait_for(|text| text.matches("run order:42").count() == 3).await;
    screen.press("two\r").await;
    screen.wait_for(|text| text.contains("\nthen two")).await;
    screen.press("exit 3\r").await;
    assert_eq!(screen.ended().await, 3);
}
