//! The servers that tests start leave no process and no file behind, even if a test panics or is killed.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use test_support::{RedisServer, eventually};

const SOON: Duration = Duration::from_secs(5);

async fn is_gone(port: u16, directory: PathBuf) {
    eventually(SOON, || async { TcpStream::connect(("127.0.0.1", port)).is_err() }).await;
    eventually(SOON, || async { !directory.exists() }).await;
}

#[tokio::test]
async fn a_panic_ends_the_server_and_removes_its_files() {
    let test = std::thread::spawn(|| {
        let server = RedisServer::start();
        server.pause();
        std::panic::panic_any((server.port(), server.directory().to_owned()));
    });
    let payload = test.join().expect_err("the thread panicked");
    let (port, directory) = *payload.downcast::<(u16, PathBuf)>().expect("the port and the directory");
    is_gone(port, directory).await;
}

/// Not a test: what the process runs that the next test kills. It is this test binary again.
#[test]
fn helper_process_with_a_server() {
    if std::env::var_os("HELPER_PROCESS").is_none() {
        return;
    }
    let server = RedisServer::start();
    eprintln!("server {} {}", server.port(), server.directory().display());
    std::thread::sleep(SOON * 10);
}

#[tokio::test]
async fn a_killed_process_takes_its_server_and_the_files_along() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["helper_process_with_a_server", "--exact", "--nocapture"])
        .env("HELPER_PROCESS", "yes")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(process.stderr.take().unwrap()).lines();
    let server = output.find_map(|line| line.unwrap().strip_prefix("server ").map(str::to_owned));
    let (port, directory) =
        server.as_deref().and_then(|server| server.split_once(' ')).expect("the port and the directory");
    let port = port.parse().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    process.kill().unwrap();
    process.wait().unwrap();
    is_gone(port, directory.into()).await;
}

#[tokio::test]
async fn a_restarted_server_has_the_same_url_and_no_data() {
    let mut server = RedisServer::start();
    let url = server.url();
    server.command::<()>(&["SET", "a", "1"]).await;
    server.restart();
    assert_eq!(server.url(), url);
    assert_eq!(server.keys().await, [""; 0]);
}
