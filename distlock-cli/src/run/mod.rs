//! `distlock run`: a command under a lock.
//!
//! The command runs in a process group of its own, and this process watches its lease.
//!
//! - [`lease`] says when the command has to be stopped.
//! - [`child`] is the command, and [`signals`] are those to forward.
//! - [`terminal`] says which process group may read from the terminal.
//! - [`exec`] has the hidden subcommands by which the command ends together with this process.

use std::{pin::pin, process::ExitStatus, time::Duration};

use distlock_core::{LockError, LockGuard, LockManager, LockRequest, LostReason};
use rustix::process::Signal;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    args::{RunOptions, Wait},
    failure::{Failure, LOST, say},
    server,
};

mod child;
pub(crate) mod exec;
mod lease;
mod signals;
mod terminal;

use child::Group;
use lease::{Deadline, Step};
use signals::{Signals, Told};

/// How long the end of this process waits for the server, and for a killed command.
const PATIENCE: Duration = Duration::from_secs(3);

/// Acquires the lock, runs the command, and releases the lock.
pub(crate) async fn run(url: Option<&str>, options: &RunOptions) -> Result<u8, Failure> {
    let mut signals =
        Signals::receive().map_err(|error| Failure::io(format!("signals cannot be received: {error}")))?;
    let connecting = server::connect(url);
    let manager = tokio::select! {
        manager = connecting => manager?,
        signal = to_end(&mut signals) => return Ok(128 + signal),
    };
    server::warn_of_memory(url);
    let ended = match until_signal(acquire(&manager, options), &mut signals).await {
        Ok(guard) => {
            let ended = under(&guard, options, &mut signals).await;
            release(guard).await;
            ended
        }
        Err(Refusal::Signal(signal)) => Ok(128 + signal),
        Err(Refusal::Lock(LockError::Busy { .. })) if options.conflict_exit_code == 0 => Ok(0),
        Err(Refusal::Lock(error @ LockError::Busy { .. })) => {
            Err(Failure::new(options.conflict_exit_code, error.to_string()))
        }
        Err(Refusal::Lock(error)) => Err(error.into()),
    };
    // A wait that was given up leaves its queue.
    let _ = timeout(PATIENCE, manager.shutdown()).await;
    ended
}

/// Why the command does not run.
enum Refusal {
    Lock(LockError),
    Signal(u8),
}

/// Acquires, unless a signal ends this process before.
async fn until_signal(
    acquire: impl Future<Output = Result<LockGuard, LockError>>,
    signals: &mut Signals,
) -> Result<LockGuard, Refusal> {
    tokio::select! {
        guard = acquire => guard.map_err(Refusal::Lock),
        signal = to_end(signals) => Err(Refusal::Signal(signal)),
    }
}

/// Releases the lock. What goes wrong does not replace the command's status.
async fn release(guard: LockGuard) {
    match timeout(PATIENCE, guard.release()).await {
        Ok(Ok(()) | Err(LockError::Lost { .. })) => {}
        Ok(Err(error)) => say(&format!("{error}; the key is free when the ttl is over")),
        Err(_) => say("the release was not confirmed; the key is free when the ttl is over"),
    }
}

async fn acquire(manager: &LockManager, options: &RunOptions) -> Result<LockGuard, LockError> {
    let guard = request(manager, options).acquire().await?;
    // What another process has handed over is shorter than the ttl, and not confirmed yet.
    guard.renew().await?;
    Ok(guard)
}

fn request(manager: &LockManager, options: &RunOptions) -> LockRequest {
    let mut request = manager.lock(&options.key);
    if let Some(ttl) = options.ttl {
        request = request.ttl(ttl);
    }
    if let Some(at_least) = options.at_least {
        request = request.at_least(at_least);
    }
    if options.fenced {
        request = request.fenced();
    }
    match options.wait {
        Some(Wait::UpTo(wait)) => request.wait(wait),
        Some(Wait::Forever) => request.wait_forever(),
        None => request,
    }
}

/// Waits for a signal that ends this process, which has no command yet.
async fn to_end(signals: &mut Signals) -> u8 {
    loop {
        match signals.next().await {
            Told::Forward(Signal::TSTP) => Group::stop_with(),
            Told::Forward(signal) => return u8::try_from(signal.as_raw()).unwrap_or_default(),
            Told::Continued | Told::Child => {}
        }
    }
}

/// Runs the command under the lock.
async fn under(guard: &LockGuard, options: &RunOptions, signals: &mut Signals) -> Result<u8, Failure> {
    let fence = guard.fencing_token().map(|fence| fence.value().to_string());
    let variables = [("DISTLOCK_KEY", Some(options.key.clone())), ("DISTLOCK_FENCE", fence)];
    let mut deadline = Deadline::new(guard.remaining(), options.grace, Instant::now());
    let mut group = Group::start(&options.command, &variables)
        .map_err(|error| Failure::io(format!("the command cannot be started: {error}")))?;
    let ended = watch(guard, &mut group, &mut deadline, signals).await;
    let is_lost = deadline.is_over() || !guard.is_held();
    if is_lost {
        // What the command has started must not go on without the lock.
        group.signal(Signal::KILL);
    }
    group.finish().await;
    if is_lost {
        let reason = match timeout(Duration::ZERO, guard.lost()).await {
            Ok(reason) => reason,
            // It was stopped before the end of the lease.
            Err(_) => LostReason::Expired,
        };
        let key = options.key.escape_debug();
        let status = ended.map(|ended| format!(" ({ended})")).unwrap_or_default();
        return Err(Failure::new(
            LOST,
            format!("lock on `{key}` was lost: {reason}; the command was stopped{status}"),
        ));
    }
    match ended {
        Some(ended) => Ok(child::status(ended)),
        None => Err(Failure::io("the command's end cannot be observed")),
    }
}

/// Waits for the command to end, stops it when the lease is lost or about to end, and forwards signals.
/// `None` if the command does not end although it was killed.
async fn watch(
    guard: &LockGuard,
    group: &mut Group,
    deadline: &mut Deadline,
    signals: &mut Signals,
) -> Option<ExitStatus> {
    let mut killed: Option<Instant> = None;
    let mut lost = pin!(guard.lost());
    let mut is_lost = false;
    loop {
        let now = Instant::now();
        match deadline.step(guard.remaining(), now) {
            Step::GoOn => {}
            Step::Terminate => group.terminate(),
            Step::Kill => {
                group.signal(Signal::KILL);
                killed = Some(now);
            }
        }
        if killed.is_some_and(|killed| killed + PATIENCE < now) {
            return None;
        }
        let next = deadline.next(now).max(now + Duration::from_millis(1));
        tokio::select! {
            biased;
            // First: a lease that ended while this process was stopped.
            _ = &mut lost, if !is_lost => is_lost = true,
            ended = group.ended() => return ended.ok(),
            told = signals.next() => follow(told, guard, group),
            () = sleep_until(next) => {}
        }
    }
}

/// Does what a signal asks for, unless the lease is over: the command is ended first.
fn follow(told: Told, guard: &LockGuard, group: &Group) {
    match told {
        Told::Forward(Signal::TSTP) => {
            group.signal(Signal::TSTP);
            Group::stop_with();
        }
        Told::Forward(signal) => group.signal(signal),
        Told::Continued if guard.is_held() => group.signal(Signal::CONT),
        Told::Continued => {}
        Told::Child => group.follow_stop(),
    }
}
