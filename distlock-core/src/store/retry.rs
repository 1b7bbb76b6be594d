//! Sends a command once more after a broken connection, which an idle connection shows at its first use.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

use super::contract::StoreFuture;
use crate::error::{StoreError, StoreErrorKind};

/// A command under way, which is sent once more if its connection breaks.
pub(crate) struct Resending<T> {
    pending: StoreFuture<T>,
    resent: bool,
}

impl<T> Resending<T> {
    /// The command, not yet polled.
    pub(crate) fn new(first: StoreFuture<T>) -> Self {
        Self { pending: first, resent: false }
    }

    /// Whether the command was sent twice, so that "not the owner" may be the first one's doing.
    pub(crate) fn was_resent(&self) -> bool {
        self.resent
    }

    /// The future of the latest sending, which is not sent again, and whether it was the second.
    pub(crate) fn into_parts(self) -> (StoreFuture<T>, bool) {
        (self.pending, self.resent)
    }

    /// Polls for the answer. `send` makes the command again.
    ///
    /// An error of the second sending also says that the outcome of the first is unknown.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        send: impl Fn() -> StoreFuture<T>,
    ) -> Poll<Result<T, StoreError>> {
        loop {
            return Poll::Ready(match ready!(self.pending.as_mut().poll(cx)) {
                Err(error) if error.kind() == StoreErrorKind::Disconnected && !self.resent => {
                    self.resent = true;
                    self.pending = send();
                    continue;
                }
                Err(error) if self.resent => Err(error.after_unknown_outcome()),
                answer => answer,
            });
        }
    }
}

/// Sends a command, and once more if its connection breaks. Answers also whether it was sent twice.
pub(crate) async fn send_again_once<T>(send: impl Fn() -> StoreFuture<T>) -> (Result<T, StoreError>, bool) {
    let mut command = Resending::new(send());
    let answer = poll_fn(|cx| command.poll(cx, &send)).await;
    (answer, command.was_resent())
}
