//! Does one clean-up to its end.

use std::{future::poll_fn, sync::Arc};

use crate::{
    error::LostReason,
    key::Key,
    lease::{Cleanup, Doubt, PendingRelease, Released},
    shared::Shared,
    store::Acquired,
};

/// Does one clean-up to its end. If the runtime ends before that, it is counted as a release that failed.
pub(super) fn clean_up(shared: &Arc<Shared>, cleanup: Cleanup) -> impl Future<Output = ()> + Send + use<> {
    // Made here and not in the future, so that a future that is never polled is counted too.
    let unfinished = Unfinished { shared: Arc::clone(shared), key: Some(cleanup.key().clone()) };
    async move {
        if let Some(release) = left_to_release(&unfinished.shared, cleanup).await {
            unfinished.shared.release_until_confirmed(release).await;
        }
        unfinished.finish();
    }
}

/// What is left to release when the clean-up's command, if one is in flight, has ended.
async fn left_to_release(shared: &Shared, cleanup: Cleanup) -> Option<PendingRelease> {
    match cleanup {
        Cleanup::Release(release) => Some(release),
        Cleanup::Releasing { mut command, release } => {
            let PendingRelease { key, owner, keep, doubt, .. } = &release;
            let send = || shared.send_release(key, owner, *keep);
            let Ok(answer) = poll_fn(|cx| command.poll(cx, send)).await else { return Some(release) };
            shared.wait_queues.notify_released(key);
            let Released { was_owner, doubt } = Released::judge(answer, command.was_resent(), *doubt);
            if !was_owner && doubt == Doubt::None {
                shared.count_failed_release(key, &LostReason::NotOwner);
            }
            (doubt != Doubt::None).then_some(PendingRelease { doubt, ..release })
        }
        Cleanup::Acquire { pending, release, queued } => {
            let in_doubt = release.doubt != Doubt::None;
            match pending.await {
                Ok(Acquired::Granted { .. }) => {
                    Some(PendingRelease { doubt: Doubt::new(in_doubt, true), ..release })
                }
                Ok(Acquired::Busy { .. }) => (queued || in_doubt).then_some(release),
                Err(error) if error.outcome_unknown() => {
                    Some(PendingRelease { doubt: Doubt::new(true, false), ..release })
                }
                Err(_) => in_doubt.then_some(release),
            }
        }
    }
}

/// Counts the clean-up if it is dropped before its end.
struct Unfinished {
    shared: Arc<Shared>,
    key: Option<Key>,
}

impl Unfinished {
    fn finish(mut self) {
        self.key = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.shared.count_failed_release(key, &"the runtime was shut down");
        }
    }
}
