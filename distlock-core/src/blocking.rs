//! Runs a future for a caller that blocks its thread.
//!
//! # How it works
//! The future runs as a task, and the caller waits for the task's answer. The future must not run on the
//! caller's thread: a connection belongs to a runtime that goes on after the call, and so does the keeper of
//! the lease.

use std::{
    io, process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// The runtime of callers whose manager has none, with the process that started it. The child of a fork does
/// not have its thread.
static OWN_RUNTIME: Mutex<Option<(u32, Handle)>> = Mutex::new(None);

/// How long the chosen runtime has to begin. Nobody may drive a current-thread runtime.
const BEGINS_WITHIN: Duration = Duration::from_millis(200);

/// Runs a future on the `chosen` runtime, or on a background thread of this crate if there is none, or if it
/// has ended or is not driven.
///
/// # Errors
/// If the background thread cannot be started.
///
/// # Panics
/// In an asynchronous context, before anything is run; and if the future panics.
#[track_caller]
pub(crate) fn block_on<F>(chosen: Option<&Handle>, make: impl Fn() -> F) -> io::Result<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    panic_in_async_context();
    if let Some(answer) = chosen.and_then(|runtime| answer_from(runtime, BEGINS_WITHIN, make())) {
        return Ok(answer);
    }
    answer_from(&own_runtime()?, Duration::MAX, make())
        .ok_or_else(|| io::Error::other("the background thread has ended"))
}

/// The future's value; `None` if the runtime ends before, or does not begin in time. The future is then not
/// polled any more.
fn answer_from<F>(runtime: &Handle, begins_within: Duration, future: F) -> Option<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let (begun, has_begun) = mpsc::channel();
    // Set by the task when it begins, or by this thread when it gives up: whoever is first decides.
    let is_decided = Arc::new(AtomicBool::new(false));
    let decided = Arc::clone(&is_decided);
    let task = runtime.spawn(async move {
        if decided.swap(true, Ordering::AcqRel) {
            return None;
        }
        let _ = begun.send(());
        Some(future.await)
    });
    if has_begun.recv_timeout(begins_within).is_err() && !is_decided.swap(true, Ordering::AcqRel) {
        task.abort();
        return None;
    }
    let (send, answer) = oneshot::channel();
    runtime.spawn(async move { send.send(task.await) });
    match answer.blocking_recv() {
        Ok(Ok(value)) => value,
        Ok(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// Panics as tokio's `blocking_lock` does where the calling thread must not be blocked.
#[track_caller]
fn panic_in_async_context() {
    let (send, answer) = oneshot::channel();
    let _ = send.send(());
    let _ = answer.blocking_recv();
}

/// The runtime of one background thread for the whole process, started on first use.
fn own_runtime() -> io::Result<Handle> {
    let mut own = OWN_RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((process, runtime)) = &*own
        && *process == process::id()
    {
        return Ok(runtime.clone());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name("distlock".to_owned());
    thread.spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    *own = Some((process::id(), handle.clone()));
    Ok(handle)
}
