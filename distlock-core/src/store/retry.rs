//! Sends a command once more after a broken connection, which an idle connection shows at its first use.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use super::contract::StoreFuture;
use crate::error::{StoreError, StoreErrorKind};

/// A command under way, which is sent once more if its connection breaks.
pub(crate) struct Resending<T> {
    pending: StoreFuture<T>,
    resent: bool,
    /// The future is being polled. It stays set if the poll panics: such a future must not be polled again.
    is_poisoned: bool,
}

impl<T> Resending<T> {
    /// The command, not yet polled.
    pub(crate) fn new(first: StoreFuture<T>) -> Self {
        Self { pending: first, resent: false, is_poisoned: false }
    }

    /// Whether the command was sent twice, so that "not the owner" may be the first one's doing.
    pub(crate) fn was_resent(&self) -> bool {
        self.resent
    }

    /// Whether a poll has panicked, so that the outcome stays unknown.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// The future of the latest sending, which is not sent again.
    pub(crate) fn into_pending(self) -> StoreFuture<T> {
        self.pending
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
            self.is_poisoned = true;
            let polled = self.pending.as_mut().poll(cx);
            self.is_poisoned = false;
            return match polled {
                Poll::Ready(Err(error)) if error.kind() == StoreErrorKind::Disconnected && !self.resent => {
                    self.resent = true;
                    self.pending = send();
                    continue;
                }
                Poll::Ready(Err(error)) if self.resent => Poll::Ready(Err(error.after_unknown_outcome())),
                polled => polled,
            };
        }
    }
}

/// Sends a command, and once more if its connection breaks. Answers also whether it was sent twice.
pub(crate) async fn send_again_once<T>(send: impl Fn() -> StoreFuture<T>) -> (Result<T, StoreError>, bool) {
    let mut command = Resending::new(send());
    let answer = poll_fn(|cx| command.poll(cx, &send)).await;
    (answer, command.was_resent())
}
