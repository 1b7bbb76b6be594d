//! The command `distlock`: runs a program under a lock, and shows what locks there are.
//!
//! - [`args`] is the command line.
//! - `run` runs a program under a lock. [`doctor`] checks servers. [`holders`] has `ls`, `who`, `wait` and
//!   `break`. [`top`] shows the locks in the terminal and [`ui`] as a web page, both of which [`watch`] sees.
//! - [`server`] makes the manager of a URL, [`failure`] has the statuses with which the command ends,
//!   [`output`] writes to standard output, and [`text`] and [`json`] are what it writes.
#![forbid(unsafe_code)]

use std::process::ExitCode;

mod args;
mod doctor;
mod failure;
mod holders;
mod json;
mod output;
#[cfg(unix)]
mod run;
mod server;
mod text;
mod top;
mod ui;
mod watch;

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
        Command::Doctor(options) => runtime.block_on(doctor::run(url, options.json)),
        Command::Ls(options) => runtime.block_on(holders::list(url, options)),
        Command::Who(options) => runtime.block_on(holders::who(url, options)),
        Command::Wait(options) => runtime.block_on(holders::wait(url, options)),
        Command::Top(options) => runtime.block_on(top::run(url, options)),
        Command::Ui(options) => runtime.block_on(ui::run(url, options)),
        Command::Break(options) => runtime.block_on(holders::break_lock(url, options)),
    };
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_background();
    status
}

/// Waits for a signal that asks this process to end. Such a signal is noticed from this call on.
fn stopped() -> impl Future<Output = ()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        let mut streams: Vec<_> = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
        async move {
            let received = streams.iter_mut().map(|stream| Box::pin(stream.recv()));
            futures_util::future::select_all(received).await;
        }
    }
    #[cfg(not(unix))]
    async {
        let _ = tokio::signal::ctrl_c().await;
    }
}
