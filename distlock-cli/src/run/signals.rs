//! The signals that `distlock run` forwards.

use std::{
    fs, io,
    task::{Context, Poll},
};

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What is forwarded to the command.
const FORWARDED: [Signal; 7] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2, Signal::TSTP];

/// The signals that this process receives from now on.
pub(super) struct Signals {
    forwarded: Vec<(Signal, Stream)>,
    continued: Stream,
    child: Stream,
}

/// Something that this process was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// To forward a signal.
    Forward(Signal),
    /// That it goes on, after it was stopped.
    Continued,
    /// That a child has stopped, gone on or ended.
    Child,
}

impl Signals {
    pub(super) fn receive() -> io::Result<Self> {
        let ignored = ignored();
        let forwarded = FORWARDED.into_iter().filter(|signal| ignored & bit(*signal) == 0);
        let forwarded = forwarded.map(|signal| Ok((signal, stream(signal)?))).collect::<io::Result<_>>()?;
        Ok(Self { forwarded, continued: stream(Signal::CONT)?, child: stream(Signal::CHILD)? })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Told {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Told> {
        // First, so that a lease is looked at before anything is forwarded.
        if self.continued.poll_recv(context).is_ready() {
            return Poll::Ready(Told::Continued);
        }
        for (signal, stream) in &mut self.forwarded {
            if stream.poll_recv(context).is_ready() {
                return Poll::Ready(Told::Forward(*signal));
            }
        }
        self.child.poll_recv(context).map(|_| Told::Child)
    }
}

fn stream(of: Signal) -> io::Result<Stream> {
    signal(SignalKind::from_raw(of.as_raw()))
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

/// The signals that this process was started to ignore, as by `nohup`. The command ignores them too, and
/// would not if they were received here.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}
