//! The processes that `distlock run` starts.
//!
//! - `distlock __exec PARENT COMMAND..` becomes the command, which on Linux the kernel ends together with its
//!   parent.
//! - `distlock __guard GROUP` kills the command's process group when its standard input ends, which is when
//!   `distlock run` has ended in a way that it did not choose.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    process::{self, ExitCode},
};

use nix::sys::signal::{SigSet, Signal::SIGPIPE};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process_group};

use crate::failure::{LOST, say};

/// The hidden subcommands.
const EXEC: &str = "__exec";
const GUARD: &str = "__guard";

/// If this process was started by `distlock run`, does what it was started for, and gives the status. `None`
/// for every other command line.
pub(crate) fn in_place_of_this_process() -> Option<ExitCode> {
    let mut words = env::args_os().skip(1);
    let name = words.next()?;
    if name != EXEC && name != GUARD {
        return None;
    }
    let Some(process) = words.next().and_then(|word| word.to_str()?.parse().ok()).and_then(Pid::from_raw)
    else {
        say("`__exec` and `__guard` are for `distlock run` alone");
        return Some(ExitCode::from(LOST));
    };
    Some(if name == EXEC { become_command(process, words) } else { guard(process) })
}

/// Waits until `distlock run` has ended, and kills the group.
fn guard(group: Pid) -> ExitCode {
    // Nothing is ever written.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    let _ = kill_process_group(group, Signal::KILL);
    ExitCode::SUCCESS
}

/// Becomes the command. Gives the status if that fails.
fn become_command(parent: Pid, mut words: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(program) = words.next() else { return ExitCode::from(LOST) };
    die_with_the_parent();
    // The signal does not come for a parent that ended before it was asked for.
    if getppid() != Some(parent) {
        return ExitCode::from(LOST);
    }
    let error = process::Command::new(&program).args(words).exec();
    // For the command, SIGPIPE was set to end this process. It must not replace the status.
    let _ = SigSet::from(SIGPIPE).thread_block();
    say(&format!("`{}` cannot be run: {error}", program.to_string_lossy().escape_debug()));
    // As shells answer.
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
}

/// The process that becomes the command.
pub(super) fn command(words: &[OsString]) -> io::Result<process::Command> {
    let mut command = this_program()?;
    command.arg(EXEC).arg(getpid().as_raw_pid().to_string()).args(words);
    Ok(command)
}

/// The process that guards the group.
pub(super) fn guard_of(group: Pid) -> io::Result<process::Command> {
    let mut command = this_program()?;
    command.arg(GUARD).arg(group.as_raw_pid().to_string());
    Ok(command)
}

fn this_program() -> io::Result<process::Command> {
    // The program that runs, even if another one was installed over it.
    let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { env::current_exe()? };
    let mut command = process::Command::new(program);
    command.arg0("distlock");
    Ok(command)
}

/// Asks the kernel to kill this process when the thread ends that has started it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn die_with_the_parent() {
    use rustix::process::set_parent_process_death_signal;

    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        say(&format!("the command will not be killed together with distlock: {error}"));
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn die_with_the_parent() {}
