//! Builds a broken copy, and runs the test that has to notice.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::patch::Patch;

/// What a broken promise led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// These tests failed.
    Red(Vec<String>),
    /// The tests did not end in their time, so they would fail.
    Hung,
    /// All tests passed: one is missing.
    Survived,
    /// The patch is wrong: it does not apply or compile, or it names a test that does not exist.
    Fault(String),
}

/// How long the tests of one row may run. None of them takes half of it.
const TESTS_END_WITHIN: Duration = Duration::from_secs(150);

/// Builds the sources in `tree` and runs a patch's tests. What is built stays in `target`.
///
/// # Errors
/// Cargo does not run, or its output cannot be kept.
pub fn run(patch: &Patch, tree: &Path, target: &Path) -> io::Result<Outcome> {
    let log = log_of(patch, target);
    let cargo = || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.arg("test").args(&patch.test).current_dir(tree);
        command
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_TERM_COLOR", "never");
        command
    };
    let (mut build, mut tests) = (cargo(), cargo());
    let (output, errors) = outputs(&log)?;
    let built = build.arg("--no-run").stdin(Stdio::null()).stdout(output).stderr(errors).status()?;
    if !built.success() {
        let text = fs::read_to_string(&log)?;
        let error = text.lines().find(|line| line.starts_with("error")).unwrap_or("cargo does not say why");
        return Ok(Outcome::Fault(format!("does not compile: {error}")));
    }
    let (output, errors) = outputs(&log)?;
    let success = finish(tests.stdin(Stdio::null()).stdout(output).stderr(errors), TESTS_END_WITHIN)?;
    Ok(judge(success, &fs::read_to_string(&log)?))
}

/// A new file for a command's output and errors.
fn outputs(log: &Path) -> io::Result<(File, File)> {
    let file = File::create(log)?;
    Ok((file.try_clone()?, file))
}

/// Reads the output of `cargo test`. `success` is `None` if it did not end.
fn judge(success: Option<bool>, output: &str) -> Outcome {
    let named = |line: &str| Some(line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.to_owned());
    let red: Vec<_> = output.lines().filter_map(named).collect();
    let ran = output.lines().any(|line| line.starts_with("running ") && !line.starts_with("running 0 "));
    match success {
        _ if !red.is_empty() => Outcome::Red(red),
        None => Outcome::Hung,
        Some(_) if !ran => Outcome::Fault("names no test that exists".to_owned()),
        Some(true) => Outcome::Survived,
        Some(false) => Outcome::Red(vec!["the test binary ended".to_owned()]),
    }
}

/// Runs a command. Answers whether it succeeded; `None` if it was killed because it did not end in its time.
fn finish(command: &mut Command, within: Duration) -> io::Result<Option<bool>> {
    // A group of its own, which is killed whole: cargo starts the tests as processes of their own.
    let mut child = command.process_group(0).spawn()?;
    let end = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if Instant::now() >= end {
            Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Where the output of a patch's tests is kept.
#[must_use]
pub fn log_of(patch: &Patch, target: &Path) -> PathBuf {
    target.join(format!("{}.log", patch.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_is_named() {
        let output = "running 2 tests\ntest a::b ... ok\ntest c ... FAILED\n";
        assert_eq!(judge(Some(false), output), Outcome::Red(vec!["c".to_owned()]));
        assert_eq!(judge(None, output), Outcome::Red(vec!["c".to_owned()]));
    }

    #[test]
    fn tests_that_pass_are_no_notice() {
        assert_eq!(judge(Some(true), "running 1 test\ntest a ... ok\n"), Outcome::Survived);
        assert_eq!(judge(None, "running 1 test\n"), Outcome::Hung);
    }

    #[test]
    fn a_filter_that_matches_nothing_is_a_fault_of_the_patch() {
        assert!(matches!(judge(Some(true), "running 0 tests\n"), Outcome::Fault(_)));
    }
}
