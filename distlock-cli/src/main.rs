//! The command `distlock`: runs a program under a lock, and shows what locks there are.
//!
//! - [`args`] is the command line. Each subcommand has a module of its own name.
//! - [`server`] makes the manager of a URL, [`failure`] has the statuses with which the command ends, and
//!   [`output`] writes to standard output.
#![forbid(unsafe_code)]

use std::process::ExitCode;

mod args;
mod failure;
mod output;
#[cfg(unix)]
mod run;
mod server;

use args::{Cli, Command};
use failure::{Failure, say};

fn main() -> ExitCode {
    #[cfg(unix)]
    if let Some(status) = run::exec::in_place_of_this_process() {
        return status;
    }
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    match dispatch(&cli) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            say(&failure.message);
            ExitCode::from(failure.status)
        }
    }
}

/// Runs the subcommand on this thread: the signal that takes the child of `distlock run` along comes when the
/// thread ends that has started it.
fn dispatch(cli: &Cli) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io(format!("no runtime can be started: {error}")))?;
    let url = cli.url.as_deref();
    let status = match &cli.command {
        #[cfg(unix)]
        Command::Run(options) => runtime.block_on(run::run(url, options)),
        #[cfg(not(unix))]
        Command::Run(_) => Err(Failure::usage("`distlock run` needs a Unix system, for its signals")),
    };
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_background();
    status
}
