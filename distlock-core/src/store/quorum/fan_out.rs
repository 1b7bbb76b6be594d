//! One question to several nodes at once.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use super::Inner;
use crate::{
    error::StoreError,
    store::{Store, StoreFuture, retry::Resending},
};

/// Answers under way. They are so few that all are polled at each wake: that costs less than to keep account of who was woken.
pub(super) struct FanOut<T, Q> {
    inner: Arc<Inner>,
    question: Q,
    open: Vec<UnfinishedAcquire<T>>,
    /// Whose turn it is to be polled; those before have been since the last wake.
    turn: usize,
}

struct UnfinishedAcquire<T> {
    at: usize,
    answer: Resending<T>,
}

impl<T, Q: Fn(&dyn Store) -> StoreFuture<T>> FanOut<T, Q> {
    pub(super) fn new(inner: Arc<Inner>, question: Q) -> Self {
        let open = Vec::with_capacity(inner.nodes.len());
        Self { inner, question, open, turn: 0 }
    }

    /// Asks a node.
    pub(super) fn ask(&mut self, at: usize) {
        let answer = (self.question)(&*self.inner.nodes[at].store);
        self.expect(at, answer);
    }

    /// A node's answer is under way.
    pub(super) fn expect(&mut self, at: usize, answer: StoreFuture<T>) {
        self.open.push(UnfinishedAcquire { at, answer: Resending::new(answer) });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The same in another task, which nobody has woken yet.
    pub(super) fn moved(mut self) -> Self {
        self.turn = 0;
        self
    }

    /// The next answer that comes, and the node that gave it. A node is fan_out once more when the connection broke under the question, which an
    /// idle one does at its first use; that there is no answer is noted.
    pub(super) async fn next(&mut self) -> Option<(usize, Result<T, StoreError>)> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Result<T, StoreError>)>> {
        while let Some(open) = self.open.get_mut(self.turn) {
            let node = &self.inner.nodes[open.at];
            let Poll::Ready(answer) = open.answer.poll(cx, || (self.question)(&*node.store)) else {
                self.turn += 1;
                continue;
            };
            if let Err(error) = &answer {
                node.failed(error);
            }
            let UnfinishedAcquire { at, .. } = self.open.swap_remove(self.turn);
            return Poll::Ready(Some((at, answer)));
        }
        self.turn = 0;
        if self.open.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}
