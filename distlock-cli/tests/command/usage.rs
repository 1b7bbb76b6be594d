//! What is wrong with a call is one clear line and a status.

use std::process::Stdio;

use test_support::{RedisServer, free_port};

use crate::process::{answer, distlock, distlock_at};

/// Each subcommand that needs a server, with arguments that are fine.
const COMMANDS: &[&[&str]] = &[
    &["run", "order:42", "--", "true"],
    &["ls"],
    &["who", "order:42"],
    &["wait", "order:42"],
    &["ui", "--listen", "127.0.0.1:0"],
    &["break", "order:42", "--yes"],
];

#[tokio::test]
async fn a_wrong_command_line_is_refused_before_anything_is_sent() {
    for (arguments, said) in [
        (&["run", "order:42"][..], "distlock run [OPTIONS] <KEY> -- <COMMAND>"),
        (&["run", "order:42", "--ttl", "1.5s", "--", "true"], "it has a fraction; write whole seconds"),
        (&["run", "order:42", "--wait", "soon", "--", "true"], "write whole seconds"),
        (&["walk"], "unrecognized subcommand 'walk'"),
        (
            &["run", "order:42", "--", "true"],
            "no URL was given; write `--url redis://host`, or set DISTLOCK_URL",
        ),
        (
            &["run", "--url", "redsi://127.0.0.1", "order:42", "--", "true"],
            "the URL's scheme `redsi` is not known",
        ),
        (&["run", "--url", "redis://127.0.0.1/?tll=1", "order:42", "--", "true"], "did you mean `ttl`?"),
    ] {
        let answer = answer(&mut distlock(arguments)).await;
        assert_eq!(answer.status, 64, "{arguments:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(said), "{arguments:?}: {}", answer.stderr);
        assert_eq!(answer.stdout, "");
    }
}

#[tokio::test]
async fn a_key_or_a_ttl_that_cannot_be_used_is_refused() {
    let server = RedisServer::start();
    for (arguments, said) in [
        (["run", "", "--ttl", "1s", "--", "true"], "invalid lock key"),
        (["run", "order:42", "--ttl", "1ms", "--", "true"], "invalid ttl 1ms"),
    ] {
        let answer = answer(&mut distlock_at(&server.url(), &arguments)).await;
        assert_eq!(answer.status, 64, "{}", answer.stderr);
        assert!(answer.stderr.contains(said), "{}", answer.stderr);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_line() {
    let url = format!("redis://:secret@127.0.0.1:{}/", free_port());
    for arguments in COMMANDS {
        let answer = answer(&mut distlock_at(&url, arguments)).await;
        assert_eq!(answer.status, 69, "{arguments:?}: {}", answer.stderr);
        assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
        assert!(answer.stderr.starts_with("distlock: lock store failed"), "{}", answer.stderr);
        assert!(!answer.stderr.contains("secret"), "{}", answer.stderr);
    }
}

#[tokio::test]
async fn a_missing_right_is_one_line_that_names_it() {
    let server = RedisServer::start();
    server.command::<()>(&["ACL", "SETUSER", "guest", "on", ">secret", "~*", "&*", "+@all", "-set"]).await;
    let url = format!("redis://guest:secret@127.0.0.1:{}/", server.port());
    let answer = answer(&mut distlock_at(&url, &["run", "order:42", "--", "true"])).await;
    assert_eq!(answer.status, 69, "{}", answer.stderr);
    assert!(answer.stderr.contains("the server forbids SET"), "{}", answer.stderr);
    assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
}

#[tokio::test]
async fn wrong_credentials_are_one_line_without_them() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let url = format!("redis://:guess@127.0.0.1:{}/", server.port());
    for arguments in COMMANDS {
        let answer = answer(&mut distlock_at(&url, arguments)).await;
        assert_eq!(answer.status, 69, "{arguments:?}: {}", answer.stderr);
        assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
        assert!(!answer.stderr.contains("guess"), "{}", answer.stderr);
    }
}

#[tokio::test]
async fn help_is_written_to_standard_output() {
    let answer = answer(&mut distlock(&["run", "--help"])).await;
    assert_eq!(answer.status, 0);
    for said in ["DISTLOCK_FENCE", "On resuming it kills the process group at once", "kill -9"] {
        assert!(answer.stdout.contains(said), "{}", answer.stdout);
    }
}

#[tokio::test]
async fn a_standard_output_that_is_closed_is_a_line_and_a_status() {
    let server = RedisServer::start();
    server.command::<()>(&["SET", "lock:order:42", "1"]).await;
    for arguments in [&["ls"][..], &["who", "order:42"], &["doctor"], &["break", "order:42", "--yes"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let answer = answer(distlock_at(&server.url(), arguments).stdout(Stdio::from(writer))).await;
        assert_eq!(answer.status, 74, "{}", answer.stderr);
        assert!(
            answer.stderr.starts_with("distlock: standard output cannot be written"),
            "{}",
            answer.stderr
        );
        assert_eq!(answer.stderr.lines().count(), 1);
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(answer(distlock(&["--help"]).stdout(Stdio::from(writer))).await.status, 74);
}
