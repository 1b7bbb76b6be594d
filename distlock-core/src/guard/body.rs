//! The one small future around a body, which polls it only while its lease is valid.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tracing::span;

use super::call_chain::{Entered, Frame};
use crate::{
    clock::Moment,
    error::LockError,
    lease::{BodyCount, Certainty, Lease},
    options::OnLost,
    shared::Shared,
};

pin_project! {
    /// A body that is polled only while its lease is valid, unless `on_lost` is `Finish`.
    ///
    /// The compiler emits code that is generic over the body for each locked function, so all other code is
    /// in the checks.
    pub(super) struct LockedBody<'a, F: Future> {
        #[pin]
        body: Progress<F>,
        // After the body, so that it is dropped after it.
        #[pin]
        checks: PollChecks<'a>,
    }
}

pin_project! {
    /// A body, or its value while the store has yet to confirm the lease that it ran under.
    #[project = ProgressProjection]
    #[project_replace = ProgressTaken]
    enum Progress<F: Future> {
        Running { #[pin] body: F },
        Unconfirmed { value: F::Output },
        Ended,
    }
}

impl<'a, F: Future> LockedBody<'a, F> {
    pub(super) fn new(body: F, shared: &Arc<Shared>, lease: &'a Arc<Lease>) -> Self {
        Self { body: Progress::Running { body }, checks: PollChecks::new(shared, lease) }
    }
}

impl<F: Future> Future for LockedBody<'_, F> {
    type Output = Result<F::Output, LockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(entered) = this.checks.as_mut().before_poll(cx)? else { return Poll::Pending };
        let ProgressProjection::Running { body } = this.body.as_mut().project() else {
            // The lease is confirmed now, and the body has ended before.
            return match this.body.project_replace(Progress::Ended) {
                ProgressTaken::Unconfirmed { value } => Poll::Ready(Ok(value)),
                _ => Poll::Pending,
            };
        };
        let polled = body.poll(cx);
        drop(entered);
        match this.checks.after_poll(cx, polled.is_pending())? {
            Certainty::Valid => polled.map(Ok),
            Certainty::Unconfirmed => {
                if let Poll::Ready(value) = polled {
                    this.body.set(Progress::Unconfirmed { value });
                }
                Poll::Pending
            }
        }
    }
}

/// One poll of a body: its frame in the call chain, and its span.
struct BodyPoll<'a> {
    _frame: Entered,
    _span: Option<span::Entered<'a>>,
}

pin_project! {
    /// What is checked around each poll of a body.
    struct PollChecks<'a> {
        #[pin]
        changed: Notified<'a>,
        frame: Arc<Frame>,
        lease: &'a Lease,
        // When the latest poll of the body began. Set before each poll, if the clock is read.
        began: Instant,
        _count: BodyCount<'a>,
    }
}

impl<'a> PollChecks<'a> {
    fn new(shared: &Arc<Shared>, lease: &'a Arc<Lease>) -> Self {
        Self {
            changed: lease.changed(),
            frame: Frame::new(shared, lease),
            lease,
            began: lease.granted_at(),
            _count: lease.count_body(),
        }
    }

    /// Checks the lease, and enters the body's call chain and span until the value is dropped. `None`
    /// suspends the body: the store has yet to confirm its lease.
    ///
    /// The clock is read before each poll: a process that was stopped past the deadline must not go on.
    fn before_poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Result<Option<BodyPoll<'a>>, LockError> {
        if self.lease.on_lost == OnLost::Finish {
            return Ok(Some(self.enter()));
        }
        let now = Moment::now();
        *self.as_mut().project().began = now.at;
        match self.lease.check_before_poll(now)? {
            Certainty::Valid => Ok(Some(self.enter())),
            Certainty::Unconfirmed => Ok(match self.after_poll(cx, true)? {
                // It was confirmed meanwhile: the task is polled again at once.
                Certainty::Valid => {
                    cx.waker().wake_by_ref();
                    None
                }
                Certainty::Unconfirmed => None,
            }),
        }
    }

    fn enter(&self) -> BodyPoll<'a> {
        BodyPoll { _frame: self.frame.enter(), _span: self.lease.span().enter() }
    }

    /// Checks the lease again: a body that blocked its thread past the deadline did not run alone.
    ///
    /// With `is_pending`, or while the lease is uncertain, the task is woken when that changes.
    fn after_poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        is_pending: bool,
    ) -> Result<Certainty, LockError> {
        if self.lease.on_lost == OnLost::Finish {
            return Ok(Certainty::Valid);
        }
        let began = self.began;
        if !is_pending && self.lease.check_after_poll(began)? == Certainty::Valid {
            return Ok(Certainty::Valid);
        }
        // Only the waker matters. The status is read after it is registered, so that a change is either seen
        // here or wakes the task.
        while self.as_mut().project().changed.poll(cx).is_ready() {
            let changed = self.lease.changed();
            self.as_mut().project().changed.set(changed);
        }
        self.lease.check_after_poll(began)
    }
}
