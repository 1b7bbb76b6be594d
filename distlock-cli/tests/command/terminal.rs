//! A terminal with `distlock` in it.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Child,
    time::timeout,
};

use crate::SOON;

/// A program that was started in a terminal of its own, and what the terminal shows.
pub(crate) struct Screen {
    pub(crate) child: Child,
    output: OwnedReadPty,
    input: OwnedWritePty,
    pub(crate) parser: vt100::Parser,
}

impl Screen {
    /// Starts a program in a terminal of this size.
    pub(crate) fn start(program: &str, arguments: &[&str], url: &str, rows: u16, columns: u16) -> Self {
        let (pty, terminal) = pty_process::open().expect("a terminal");
        pty.resize(Size::new(rows, columns)).expect("its size");
        let command = pty_process::Command::new(program).args(arguments).kill_on_drop(true);
        let command = command.env("DISTLOCK_URL", url).env("TERM", "xterm-256color");
        let child = command.spawn(terminal).expect("the program starts");
        let (output, input) = pty.into_split();
        Self { child, output, input, parser: vt100::Parser::new(rows, columns, 0) }
    }

    /// Starts `distlock`.
    pub(crate) fn distlock(arguments: &[&str], url: &str, rows: u16, columns: u16) -> Self {
        Self::start(env!("CARGO_BIN_EXE_distlock"), arguments, url, rows, columns)
    }

    /// Reads until the terminal shows what is wanted.
    pub(crate) async fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) {
        let end = Instant::now() + SOON;
        while !wanted(&self.text()) {
            assert!(Instant::now() < end, "the terminal shows:\n{}", self.text());
            let mut bytes = [0; 4096];
            match timeout(Duration::from_millis(500), self.output.read(&mut bytes)).await {
                Ok(Ok(read @ 1..)) => self.parser.process(&bytes[..read]),
                // A terminal without a program answers with an error.
                Ok(_) => assert!(wanted(&self.text()), "it ended, and the terminal shows:\n{}", self.text()),
                Err(_) => {}
            }
        }
    }

    /// What the terminal shows.
    pub(crate) fn text(&self) -> String {
        self.parser.screen().contents()
    }

    /// Presses keys.
    pub(crate) async fn press(&mut self, keys: &str) {
        self.input.write_all(keys.as_bytes()).await.expect("the terminal takes keys");
    }

    /// Takes the terminal away from its programs.
    pub(crate) fn hang_up(self) -> Child {
        self.child
    }

    pub(crate) fn resize(&mut self, rows: u16, columns: u16) {
        self.input.resize(Size::new(rows, columns)).expect("another size");
        self.parser.screen_mut().set_size(rows, columns);
    }

    /// The program's own status when it has ended. What it writes meanwhile is read.
    pub(crate) async fn ended(&mut self) -> i32 {
        self.status().await.code().expect("it is not killed")
    }

    /// How the program has ended.
    pub(crate) async fn status(&mut self) -> ExitStatus {
        let end = Instant::now() + SOON;
        loop {
            assert!(Instant::now() < end, "it does not end, and the terminal shows:\n{}", self.text());
            if let Some(status) = self.child.try_wait().expect("a status") {
                let mut bytes = [0; 4096];
                while let Ok(Ok(read @ 1..)) =
                    timeout(Duration::from_millis(100), self.output.read(&mut bytes)).await
                {
                    self.parser.process(&bytes[..read]);
                }
                return status;
            }
            let mut bytes = [0; 4096];
            if let Ok(Ok(read @ 1..)) = timeout(Duration::from_millis(50), self.output.read(&mut bytes)).await
            {
                self.parser.process(&bytes[..read]);
            } else {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
