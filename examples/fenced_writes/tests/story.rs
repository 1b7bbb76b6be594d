//! The example's late write, with two processes and a real server.

use std::process::Command;

use test_support::RedisServer;

/// Runs the example. Returns whether the late write was refused, and what the example printed.
fn play(arguments: &[&str]) -> (bool, String) {
    let server = RedisServer::start();
    let mut story = Command::new(env!("CARGO_BIN_EXE_fenced_writes"));
    let output = story.args(arguments).env("DISTLOCK_URL", server.url()).output().unwrap();
    let [text, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    let success = output.status.success();
    let token = |worker: &str| -> u64 {
        let granted = format!("{worker}: granted with fencing token ");
        let rest = text.lines().find_map(|line| line.strip_prefix(&granted));
        let token = rest.and_then(|rest| rest.split(',').next()).and_then(|token| token.parse().ok());
        token.unwrap_or_else(|| panic!("{text}{errors}"))
    };
    assert!(token("A") < token("B"), "{text}");
    let late = format!("A: writes 90 with fencing token {}, lease held: false: ", token("A"));
    let early = format!("B: writes 70 with fencing token {}, lease held: true: accepted", token("B"));
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{text}{errors}"));
    assert!(at(&early) < at(&late), "{text}");
    assert!(text.contains("A: told afterwards: "), "{text}");
    (success, text)
}

#[test]
fn a_write_after_the_lease_has_ended_is_refused() {
    let (success, text) = play(&[]);
    assert!(text.contains("lease held: false: refused, fencing token "), "{text}");
    assert!(success && text.contains("The account holds 70"), "{text}");
}

#[test]
fn without_the_check_an_update_is_lost() {
    let (success, text) = play(&["--unfenced"]);
    assert!(text.contains("lease held: false: accepted"), "{text}");
    assert!(!success && text.contains("The account holds 90"), "{text}");
}
