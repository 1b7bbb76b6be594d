//! The servers that the other tests start leave nothing behind, however the test ends.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use common::{RedisServer, eventually};

mod common;

const SOON: Duration = Duration::from_secs(5);

async fn is_gone(port: u16, directory: PathBuf) {
    eventually(SOON, || async { TcpStream::connect(("127.0.0.1", port)).is_err() }).await;
    eventually(SOON, || async { !directory.exists() }).await;
}

#[tokio::test]
async fn a_test_that_panics_takes_its_server_along() {
    let test = std::thread::spawn(|| {
        let server = RedisServer::start();
        server.pause();
        std::panic::panic_any((server.port(), server.directory().to_owned()));
    });
    let place = test.join().expect_err("it panicked").downcast::<(u16, PathBuf)>().expect("its place");
    is_gone(place.0, place.1).await;
}

/// What the killed process runs: this test binary again.
#[test]
fn victim() {
    if std::env::var_os("VICTIM").is_none() {
        return;
    }
    let server = RedisServer::start();
    eprintln!("server {} {}", server.port(), server.directory().display());
    std::thread::sleep(SOON * 10);
}

#[tokio::test]
async fn a_test_that_is_killed_takes_its_server_along() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["victim", "--exact", "--nocapture"])
        .env("VICTIM", "yes")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(victim.stderr.take().unwrap()).lines();
    let place = output.find_map(|line| line.unwrap().strip_prefix("server ").map(str::to_owned));
    let (port, directory) = place.as_deref().and_then(|place| place.split_once(' ')).expect("its place");
    let port = port.parse().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    victim.kill().unwrap();
    victim.wait().unwrap();
    is_gone(port, directory.into()).await;
}

#[tokio::test]
async fn a_server_that_starts_again_is_the_same_place_without_its_data() {
    let mut server = RedisServer::start();
    let url = server.url();
    server.command::<()>(&["SET", "a", "1"]).await;
    server.restart();
    assert_eq!(server.url(), url);
    assert_eq!(server.keys().await, [""; 0]);
}
