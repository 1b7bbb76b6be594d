//! The examples, run as a user runs them. `web::examples` runs those for web frameworks.

use std::process::{Command, Output};

use test_support::{RedisServer, example, free_port};

/// Runs a program to its end. Returns whether it succeeded, and its output and errors.
fn run(command: &mut Command) -> (bool, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Checks the output of a successful quickstart.
fn has_charged_all_callers(text: &str) {
    for caller in ["Ada", "Bob", "Cyd", "Dan", "Eve", "Fay"] {
        assert!(text.contains(&format!("{caller}: charged")), "{text}");
    }
    assert!(text.contains("Two holders of one order at the same time: never."), "{text}");
    assert!(text.contains("Two orders at the same time: yes."), "{text}");
}

#[test]
fn quickstart_runs_without_a_server() {
    let (success, text, errors) = run(&mut example("quickstart"));
    assert!(success, "{errors}");
    has_charged_all_callers(&text);
    assert!(
        text.trim_end().ends_with("DISTLOCK_URL=redis://127.0.0.1/ cargo run --example quickstart"),
        "{text}"
    );
}

#[test]
fn quickstart_runs_on_redis() {
    let server = RedisServer::start();
    let (success, text, errors) = run(example("quickstart").env("DISTLOCK_URL", server.url()));
    assert!(success, "{errors}");
    has_charged_all_callers(&text);
}

#[test]
fn quickstart_tells_in_one_line_what_is_wrong_with_the_url() {
    let dead = format!("redis://127.0.0.1:{}/", free_port());
    for (url, part) in
        [(dead.as_str(), "refuses connections"), ("http://localhost", "redis://host"), ("x", "no scheme")]
    {
        let (success, _, errors) = run(example("quickstart").env("DISTLOCK_URL", url));
        assert!(!success);
        assert!(errors.contains(part) && errors.lines().count() == 1, "{url}: {errors}");
    }
}

#[test]
fn guard_releases_its_lock() {
    let (success, text, errors) = run(&mut example("guard"));
    assert!(success && text.contains("released: true"), "{text}{errors}");
}

#[test]
fn nightly_job_runs_on_one_replica() {
    let (success, text, errors) = run(&mut example("nightly_job"));
    assert!(success, "{errors}");
    assert_eq!(text.matches("removed 17 rows").count(), 1, "{text}");
    assert_eq!(text.matches("skipped").count(), 2, "{text}");
}

#[test]
fn workers_lose_no_count_while_they_lock() {
    let server = RedisServer::start();
    let (success, text, errors) = run(example("workers").arg("3").env("DISTLOCK_URL", server.url()));
    assert!(success, "{text}{errors}");
    assert!(text.contains("with the lock:  150 of 150 counted, 0 lost"), "{text}");
    let without = text.lines().find(|line| line.contains("without")).unwrap();
    assert!(!without.contains(" 0 lost"), "{text}");
}
