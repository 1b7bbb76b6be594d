//! Processes of the command.

use std::{
    process::{Output, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use test_support::in_time;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::SOON;

/// Prepares `distlock` with these arguments. It is killed when its process value is dropped.
pub(crate) fn distlock(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_distlock"));
    command.args(arguments).env_remove("DISTLOCK_URL").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Prepares `distlock` for the servers of a URL.
pub(crate) fn distlock_at(url: &str, arguments: &[&str]) -> Command {
    let mut command = distlock(arguments);
    command.env("DISTLOCK_URL", url);
    command
}

/// What `distlock` said and how it ended.
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end. It must not panic.
pub(crate) async fn answer(command: &mut Command) -> Answer {
    let child = command.spawn().expect("distlock starts");
    let output = in_time(SOON, child.wait_with_output()).await.expect("its output");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let Output { status, stdout, stderr } = output;
    let stderr = text(&stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
    Answer { status: status.code().expect("it is not killed"), stdout: text(&stdout), stderr }
}

/// A `distlock` that runs, with what its command writes.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it, and waits until its command has written the word `ready`.
    pub(crate) async fn start(command: &mut Command) -> Self {
        let mut running = Self::start_without_waiting(command);
        assert_eq!(running.line().await.as_deref(), Some("ready"));
        running
    }

    pub(crate) fn start_without_waiting(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("distlock starts");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { child, lines }
    }

    /// The next line; `None` when all processes that could write one have ended.
    pub(crate) async fn line(&mut self) -> Option<String> {
        in_time(SOON, self.lines.next_line()).await.expect("output")
    }

    /// The lines until all processes have ended that could write one.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        lines
    }

    /// Sends a signal to `distlock` itself.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status().await;
        assert!(sent.expect("kill").success());
    }

    /// The status and the messages, when `distlock` has ended by itself.
    pub(crate) async fn ended(&mut self) -> (i32, String) {
        let mut messages = String::new();
        let mut stderr = self.child.stderr.take().expect("its messages");
        let status = in_time(SOON, self.child.wait()).await.expect("its status");
        in_time(SOON, stderr.read_to_string(&mut messages)).await.expect("its messages");
        (status.code().expect("it is not killed"), messages)
    }
}

/// The time as `date +%s%N` writes it.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock")
}

/// A shell script that writes the time again and again, and does not end at SIGTERM.
pub(crate) const STUBBORN: &str = "trap '' TERM; echo ready; while :; do date +%s%N; sleep 0.02; done";

/// The time of the last line that [`STUBBORN`] has written.
pub(crate) fn last_time(lines: &[String]) -> Duration {
    Duration::from_nanos(lines.last().expect("a line").parse().expect("a time"))
}
