//! The terminal, if this process was started from one: which process group may read from it.

use std::fs::File;

use nix::sys::signal::{SigSet, Signal};
use rustix::{
    process::{Pid, getpgrp},
    termios::{tcgetpgrp, tcsetpgrp},
};

/// The terminal that controls this process.
pub(super) struct Terminal {
    device: File,
    /// The process group of this process: with a shell, the whole pipeline.
    ours: Pid,
}

impl Terminal {
    /// The terminal, if there is one.
    pub(super) fn open() -> Option<Self> {
        let device = File::options().read(true).write(true).open("/dev/tty").ok()?;
        Some(Self { device, ours: getpgrp() })
    }

    /// Lets the group read from the terminal, if the terminal is this process's to give.
    pub(super) fn give_to(&self, group: Pid) -> bool {
        self.is_with(self.ours) && tcsetpgrp(&self.device, group).is_ok()
    }

    /// Takes the terminal back from the group. Answers whether the group had it.
    pub(super) fn take_back_from(&self, group: Pid) -> bool {
        if !self.is_with(group) {
            return false;
        }
        // The kernel stops a group that takes the terminal while another group has it, by this signal.
        let stopping = SigSet::from(Signal::SIGTTOU);
        let is_blocked = stopping.thread_block().is_ok();
        let is_taken = is_blocked && tcsetpgrp(&self.device, self.ours).is_ok();
        let _ = stopping.thread_unblock();
        is_taken
    }

    fn is_with(&self, group: Pid) -> bool {
        tcgetpgrp(&self.device) == Ok(group)
    }
}
