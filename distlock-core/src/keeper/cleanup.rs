//! Does one clean-up to its end.

use std::{future::poll_fn, sync::Arc};

use super::state::KeeperState;
use crate::{
    error::LostReason,
    key::Key,
    lease::{Cleanup, Doubt, PendingRelease, Released},
    shared::Shared,
    store::Acquired,
    wait_queue::WaitQueues,
};

/// Does one clean-up to its end. If the runtime ends before that, or the store panics, it is counted as a
/// release that failed.
pub(super) fn clean_up(
    state: &Arc<KeeperState>,
    cleanup: Cleanup,
) -> impl Future<Output = ()> + Send + use<> {
    // Made here and not in the future, so that a future that is never polled is counted too.
    let unfinished = Unfinished { state: Arc::clone(state), key: Some(cleanup.key().clone()) };
    async move {
        let KeeperState { shared, wait_queues, .. } = &*unfinished.state;
        if let Some(release) = left_to_release(shared, wait_queues, cleanup).await {
            shared.release_until_confirmed(release, wait_queues).await;
        }
        unfinished.finish();
    }
}

/// What is left to release when the clean-up's command, if one is in flight, has ended.
async fn left_to_release(shared: &Shared, queues: &WaitQueues, cleanup: Cleanup) -> Option<PendingRelease> {
    match cleanup {
        Cleanup::Release(release) => Some(release),
        Cleanup::Releasing { command, release } if command.is_poisoned() => Some(release),
        Cleanup::Releasing { mut command, release } => {
            let PendingRelease { key, owner, keep_until, doubt, .. } = &release;
            let send = || shared.send_release(key, owner, *keep_until, queues.find(key).as_deref());
            let Ok(answer) = poll_fn(|cx| command.poll(cx, send)).await else { return Some(release) };
            queues.notify_released(key);
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
                    Some(PendingRelease { doubt: Doubt::new(in_doubt, true), is_of_lease: true, ..release })
                }
                Ok(Acquired::Busy { .. }) => (queued || in_doubt).then_some(release),
                Err(error) if error.outcome_unknown() => {
                    Some(PendingRelease { doubt: Doubt::new(true, false), ..release })
                }
                // Nothing was sent, and an entry of an earlier question may be in the queue.
                Err(_) => (in_doubt || shared.store.is_queued(&release.owner)).then_some(release),
            }
        }
    }
}

/// Counts the clean-up if it is dropped before its end.
struct Unfinished {
    state: Arc<KeeperState>,
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
            let cause =
                if std::thread::panicking() { "the store panicked" } else { "the runtime was shut down" };
            self.state.shared.count_failed_release(key, &cause);
        }
    }
}
