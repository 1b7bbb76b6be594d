//! `distlock __exec PARENT COMMAND..`: becomes the command, which then ends together with `distlock run`.

use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    process::{self, ExitCode},
};

use rustix::process::{Pid, getpid, getppid};

use crate::failure::{LOST, say};

/// The hidden subcommand.
const NAME: &str = "__exec";

/// If this process was started to become a command, becomes it. Gives the status if that fails, and `None`
/// for every other command line.
pub(crate) fn in_place_of_this_process() -> Option<ExitCode> {
    let mut words = env::args_os().skip(1);
    if words.next()? != NAME {
        return None;
    }
    let parent = words.next().and_then(|word| word.to_str()?.parse().ok()).and_then(Pid::from_raw);
    let (Some(parent), Some(program)) = (parent, words.next()) else {
        say("`__exec` is for `distlock run` alone");
        return Some(ExitCode::from(LOST));
    };
    die_with_the_parent();
    // The signal does not come for a parent that ended before it was asked for.
    if getppid() != Some(parent) {
        return Some(ExitCode::from(LOST));
    }
    let error = process::Command::new(&program).args(words).exec();
    say(&format!("`{}` cannot be run: {error}", program.to_string_lossy().escape_debug()));
    // As shells answer.
    Some(ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }))
}

/// The command that becomes the given one.
pub(super) fn command(words: &[OsString]) -> io::Result<process::Command> {
    // The program that runs, even if another one was installed over it.
    let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { env::current_exe()? };
    let mut command = process::Command::new(program);
    command.arg0("distlock").arg(NAME).arg(getpid().as_raw_pid().to_string()).args(words);
    Ok(command)
}

/// Asks the kernel to kill this process when the thread ends that has started it.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn die_with_the_parent() {
    use rustix::process::{Signal, set_parent_process_death_signal};

    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        say(&format!("the command will not be killed together with distlock: {error}"));
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn die_with_the_parent() {}
