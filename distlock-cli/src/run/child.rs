//! The command as a process, with its process group.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
};

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, kill_current_process_group, kill_process, kill_process_group,
    waitid,
};
use tokio::process::{Child, Command};

use super::{exec, terminal::Terminal};
use crate::failure::say;

/// The command, in a process group of its own.
pub(super) struct Group {
    child: Child,
    pid: Pid,
    /// Kills the group if this process ends before it ends the guard. `None` if it could not be started.
    guard: Option<Child>,
    terminal: Option<Terminal>,
}

impl Group {
    /// Starts the command, with these variables in its environment and without the ones that have no value.
    pub(super) fn start(words: &[OsString], variables: &[(&str, Option<String>)]) -> io::Result<Self> {
        let mut command = Command::from(exec::command(words)?);
        command.process_group(0);
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let pid =
            id.and_then(Pid::from_raw).ok_or_else(|| io::Error::other("the command has no process id"))?;
        let guard = exec::guard_of(pid).and_then(|guard| {
            // In a group of its own, and without the output for whose end a reader may wait.
            let mut guard = Command::from(guard);
            guard.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            // It begins in this process's group, where an interrupt would end it.
            deaf_to_signals(|| guard.spawn())
        });
        let guard = guard.inspect_err(|error| {
            say(&format!("what the command starts will not be killed together with distlock: {error}"));
        });
        Ok(Self { child, pid, guard: guard.ok(), terminal: Terminal::open() })
    }

    /// Waits for the command to end.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends a signal to the group. There may be no process left to get it.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.pid, signal);
    }

    /// Asks the group to end. One that is stopped would not notice.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Does what a shell would do with a command that has stopped: lets it use the terminal if it has asked
    /// for it, and stops this process too if the user has stopped it.
    pub(super) fn follow_stop(&self) {
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let Ok(Some(status)) = waitid(WaitId::Pid(self.pid), stopped) else { return };
        let Some(terminal) = &self.terminal else { return };
        let signal = status.stopping_signal();
        if signal == Some(Signal::TTIN.as_raw()) || signal == Some(Signal::TTOU.as_raw()) {
            if terminal.give_to(self.pid) {
                self.signal(Signal::CONT);
            }
        } else if terminal.take_back_from(self.pid) {
            let _ = kill_current_process_group(Signal::STOP);
        }
    }

    /// Stops this process, as SIGTSTP does that is not received.
    pub(super) fn stop_with() {
        let _ = kill_process(getpid(), Signal::STOP);
    }

    /// Ends the guard, and takes the terminal back, when the command has ended.
    pub(super) async fn finish(mut self) {
        if let Some(guard) = &mut self.guard {
            let _ = guard.kill().await;
        }
        if let Some(terminal) = &self.terminal {
            terminal.take_back_from(self.pid);
        }
    }
}

/// Calls a function while signals are blocked, which a process that it starts inherits.
fn deaf_to_signals<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = start();
    before.thread_set_mask()?;
    started
}

/// The status with which a shell reports the command's end.
pub(super) fn status(ended: ExitStatus) -> u8 {
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
