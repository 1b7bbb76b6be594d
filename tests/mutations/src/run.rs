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
    /// These tests failed, and passed when they ran again: that proves nothing.
    Unsteady(Vec<String>),
    /// All tests passed: one is missing.
    Survived,
    /// The patch is wrong: it does not apply or compile, or it names a test that does not exist.
    Fault(String),
}

const BINARY_ENDED: &str = "the test binary ended";

/// How long the tests of one row may run. None of them takes half of it.
const TESTS_END_WITHIN: Duration = Duration::from_secs(150);

/// Builds the sources in `tree` and runs a patch's tests. What is built stays in `target`, so that the next
/// patch compiles only what differs.
///
/// A test that goes red has to do so again when nothing else runs: a machine that is busy makes tests fail,
/// but seldom the same one twice. What goes red once is [`Outcome::Unsteady`].
///
/// # Errors
/// Cargo does not run, or its output cannot be kept.
pub fn run(patch: &Patch, tree: &Path, target: &Path) -> io::Result<Outcome> {
    let log = log_of(patch, target);
    let (output, errors) = outputs(&log)?;
    let mut build = cargo(patch, tree, target);
    let built = build.arg("--no-run").stdin(Stdio::null()).stdout(output).stderr(errors).status()?;
    if !built.success() {
        let text = fs::read_to_string(&log)?;
        let error = text.lines().find(|line| line.starts_with("error")).unwrap_or("cargo does not say why");
        return Ok(Outcome::Fault(format!("does not compile: {error}")));
    }
    let tests = |only: &[String]| {
        let mut tests = cargo(patch, tree, target);
        if !only.is_empty() {
            // The row's filter would add other tests to those that are named.
            tests.args(["--", "--exact"]).args(only);
        }
        let (output, errors) = outputs(&log)?;
        let success = finish(tests.stdin(Stdio::null()).stdout(output).stderr(errors), TESTS_END_WITHIN)?;
        Ok::<_, io::Error>(judge(success, &fs::read_to_string(&log)?))
    };
    Ok(match tests(&[])? {
        Outcome::Red(red) if red.iter().all(|test| test != BINARY_ENDED) => confirm(&red, tests(&red)?),
        Outcome::Red(_) | Outcome::Hung => tests(&[])?,
        outcome => outcome,
    })
}

/// The tests that went red twice.
fn confirm(red: &[String], again: Outcome) -> Outcome {
    match again {
        Outcome::Red(again) if again.iter().any(|test| test == BINARY_ENDED) => Outcome::Red(red.to_vec()),
        Outcome::Red(again) => {
            let twice: Vec<_> = red.iter().filter(|test| again.contains(test)).cloned().collect();
            if twice.is_empty() { Outcome::Unsteady(red.to_vec()) } else { Outcome::Red(twice) }
        }
        Outcome::Survived => Outcome::Unsteady(red.to_vec()),
        outcome => outcome,
    }
}

fn cargo(patch: &Patch, tree: &Path, target: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg("test").args(&patch.test).current_dir(tree);
    command
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_INCREMENTAL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_TERM_COLOR", "never");
    command
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
        Some(false) => Outcome::Red(vec![BINARY_ENDED.to_owned()]),
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
    fn a_test_that_passes_when_it_runs_again_proves_nothing() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let red = names(&["a", "b"]);
        assert_eq!(confirm(&red, Outcome::Survived), Outcome::Unsteady(red.clone()));
        assert_eq!(confirm(&red, Outcome::Red(names(&["b"]))), Outcome::Red(names(&["b"])));
        assert_eq!(confirm(&red, Outcome::Red(names(&[BINARY_ENDED]))), Outcome::Red(red.clone()));
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
