//! Short runs of the soaks. `cargo run --release -p soak -- --minutes N --seed S`, and the same with `--bin
//! quorum_soak`, `cluster_soak` or `sentinel_soak`, run for longer.

use std::process::Command;

/// Runs a soak, which must end without a finding.
fn is_clean(soak: &str, seconds: &str, seed: &str) {
    let output = Command::new(soak).args(["--seconds", seconds, "--seed", seed]).output().unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{text}{errors}");
    assert!(output.status.success(), "seed {seed}: {text}{errors}");
}

#[test]
fn bodies_never_overlap_and_no_key_stays_while_a_server_fails() {
    is_clean(env!("CARGO_BIN_EXE_soak"), "15", "20261123");
}

#[test]
fn tokens_rise_and_sections_never_overlap_while_five_servers_fail() {
    is_clean(env!("CARGO_BIN_EXE_quorum_soak"), "10", &std::process::id().to_string());
}

#[test]
fn tokens_rise_and_sections_never_overlap_while_a_cluster_fails() {
    is_clean(env!("CARGO_BIN_EXE_cluster_soak"), "4", &std::process::id().to_string());
}

#[test]
fn tokens_rise_and_sections_never_overlap_while_sentinels_fail_over() {
    is_clean(env!("CARGO_BIN_EXE_sentinel_soak"), "4", &std::process::id().to_string());
}
