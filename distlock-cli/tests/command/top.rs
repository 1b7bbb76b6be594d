//! `distlock top`, in a terminal.

use test_support::{RedisServer, eventually};

use crate::{
    SOON,
    process::{Running, distlock_at},
    terminal::Screen,
};

async fn hold(server: &RedisServer, key: &str) -> Running {
    let url = format!("{}?owner=pod-7", server.url());
    let arguments = ["run", key, "--ttl", "10s", "--", "sh", "-c", "echo ready; read line"];
    Running::start(distlock_at(&url, &arguments).stdin(std::process::Stdio::piped())).await
}

#[tokio::test]
async fn top_shows_holders_and_waiters_and_ends_with_q() {
    let server = RedisServer::start();
    let mut held = hold(&server, "order:42").await;
    let mut screen = Screen::distlock(&["top"], &server.url(), 24, 100);
    screen.wait_for(|text| text.contains("order:42") && text.contains("pod-7")).await;
    assert!(screen.text().contains("holders 1   waiters 0"), "{}", screen.text());
    let waiter = ["run", "order:42", "--wait", "forever", "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let _waiter = Running::start_without_waiting(&mut distlock_at(&server.url(), &waiter));
    eventually(SOON, async || server.wait_queue_of("lock:order:42").await.is_some()).await;
    screen.wait_for(|text| text.contains("waiters 1") && text.contains("longest wait")).await;
    drop(held.child.stdin.take());
    screen.wait_for(|text| text.contains("waiters 0") && !text.contains("pod-7")).await;
    assert!(!screen.text().contains("hand-overs/s 0.0"), "{}", screen.text());
    screen.press("q").await;
    assert_eq!(screen.ended().await, 0);
    assert!(!screen.parser.screen().alternate_screen(), "the terminal is as it was");
}

#[tokio::test]
async fn top_fits_a_terminal_of_any_size() {
    let server = RedisServer::start();
    let _held =
        [hold(&server, "order:42").await, hold(&server, "a key that is longer than the terminal").await];
    let mut screen = Screen::distlock(&["top"], &server.url(), 10, 20);
    screen.wait_for(|text| text.contains("order:42")).await;
    for (rows, columns) in [(1, 1), (2, 200), (3, 5), (60, 20), (24, 80)] {
        screen.resize(rows, columns);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    screen.wait_for(|text| text.contains("order:42") && text.contains("HOLDER")).await;
    // Ctrl-C, which a program in this mode reads as a key.
    screen.press("\x03").await;
    assert_eq!(screen.ended().await, 0);
}

#[tokio::test]
async fn top_says_when_the_server_has_gone_and_goes_on() {
    let mut server = RedisServer::start();
    let mut screen = Screen::distlock(&["top"], &server.url(), 24, 100);
    screen.wait_for(|text| text.contains("holders 0")).await;
    server.stop();
    screen.wait_for(|text| text.contains("lock store failed")).await;
    server.restart();
    screen.wait_for(|text| !text.contains("lock store failed")).await;
    screen.press("\x1b").await;
    assert_eq!(screen.ended().await, 0);
}
