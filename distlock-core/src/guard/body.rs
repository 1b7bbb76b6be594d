//! The one small future around a body, which polls it only while its lease is valid.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::sync::futures::Notified;

use super::call_chain::{Entered, Frame};
use crate::{
    error::LockError,
    lease::{BodyCount, Lease},
    options::OnLost,
    shared::Shared,
};

pin_project! {
    /// A body that is polled only while its lease is valid.
    ///
    /// Whatever is generic over the body is compiled for every locked function, so that everything else is in
    /// the checks.
    pub(super) struct LockedBody<'a, F> {
        #[pin]
        body: F,
        // After the body, so that it is dropped after it.
        #[pin]
        checks: PollChecks<'a>,
    }
}

impl<'a, F> LockedBody<'a, F> {
    pub(super) fn new(body: F, shared: &Arc<Shared>, lease: &'a Arc<Lease>) -> Self {
        Self { body, checks: PollChecks::new(shared, lease) }
    }
}

impl<F: Future> Future for LockedBody<'_, F> {
    type Output = Result<F::Output, LockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let entered = this.checks.before_poll()?;
        let polled = this.body.poll(cx);
        drop(entered);
        this.checks.after_poll(polled.is_pending().then_some(cx))?;
        polled.map(Ok)
    }
}

pin_project! {
    /// What is checked around each poll of a body.
    struct PollChecks<'a> {
        #[pin]
        lost: Notified<'a>,
        frame: Arc<Frame>,
        lease: &'a Lease,
        _count: BodyCount<'a>,
    }
}

impl<'a> PollChecks<'a> {
    fn new(shared: &Arc<Shared>, lease: &'a Arc<Lease>) -> Self {
        Self {
            lost: lease.notified_when_lost(),
            frame: Frame::new(shared, lease),
            lease,
            _count: lease.count_body(),
        }
    }

    /// Checks the lease, and puts the body into the call chain until the value is dropped.
    ///
    /// The clock is read before each poll: a process that was stopped past the deadline must not go on.
    fn before_poll(&self) -> Result<Entered, LockError> {
        self.check()?;
        Ok(self.frame.enter())
    }

    /// Checks the lease again: a body that blocked its thread past the deadline did not run alone.
    ///
    /// A body that is to be polled again, with the context, is woken by a loss.
    fn after_poll(mut self: Pin<&mut Self>, pending: Option<&mut Context<'_>>) -> Result<(), LockError> {
        if let Some(cx) = pending
            && self.lease.on_lost == OnLost::Cancel
        {
            // Only the waker matters. The status is read after it is registered, so that a loss is either
            // seen here or wakes the task.
            let _ = self.as_mut().project().lost.poll(cx);
        }
        self.check()
    }

    fn check(&self) -> Result<(), LockError> {
        if self.lease.on_lost == OnLost::Cancel { self.lease.check() } else { Ok(()) }
    }
}
