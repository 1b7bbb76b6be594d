//! Children of a fork draw owner tokens of their own.

use std::process::Command;

use test_support::RedisServer;

#[test]
fn children_of_a_fork_exclude_each_other() {
    let server = RedisServer::start();
    let output = Command::new(env!("CARGO_BIN_EXE_prefork")).arg(server.url()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "1 of 3 workers held the key\n", "{}", String::from_utf8_lossy(&output.stderr));
}
