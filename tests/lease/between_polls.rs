//! A lease ends, or is renewed, while its body is not polled.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicU32, Ordering},
    task::Poll,
    time::Duration,
};

use distlock::{
    Acquired, Holder, Key, LockError, LockGuard, LockManager, LostReason, MemoryStore, OwnerToken, Store,
    StoreFuture,
};
use test_support::in_time;
use tokio::time::sleep;

use crate::{A_DAY, SOON, lost};

#[tokio::test]
async fn a_lease_that_ends_between_two_polls_keeps_the_body_from_the_second() {
    let locks = LockManager::in_memory();
    let polls = AtomicU32::new(0);
    let body = locks.lock("job").ttl(Duration::from_millis(50)).run(poll_fn(|cx| {
        polls.fetch_add(1, Ordering::SeqCst);
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    let block = async {
        while polls.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // Blocks the keeper too, so that only the look at the lease before the next poll can notice the loss.
        std::thread::sleep(Duration::from_millis(120));
        polls.load(Ordering::SeqCst)
    };
    let (reason, polls_before) = tokio::join!(lost(A_DAY, body), block);
    assert_eq!(reason, LostReason::Expired);
    assert_eq!(polls.load(Ordering::SeqCst), polls_before);
}

/// The body's task is polled for no other reason.
#[tokio::test(start_paused = true)]
async fn a_loss_wakes_a_body_that_waits_for_nothing_else() {
    let locks = LockManager::in_memory();
    let request = locks.lock("job").ttl(Duration::from_secs(1)).renew(false);
    let call = tokio::spawn(request.run(std::future::pending::<()>()));
    let ended = in_time(SOON, call).await.unwrap();
    assert!(matches!(ended, Err(LockError::Lost { reason: LostReason::Expired, .. })), "{ended:?}");
}

/// Acquires and renews at once, and answers after a time.
#[derive(Clone)]
struct LateAnswers(MemoryStore);

const LATE: Duration = Duration::from_secs(5);

fn late<T: Send + 'static>(command: StoreFuture<T>) -> StoreFuture<T> {
    Box::pin(async move {
        let answer = command.await;
        sleep(LATE).await;
        answer
    })
}

impl Store for LateAnswers {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        late(self.0.acquire(key, owner, ttl, fenced))
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        late(self.0.renew(key, owner, ttl))
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.0.release(key, owner)
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.0.inspect(key)
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_never_believed_in_for_longer_than_the_store_keeps_it() {
    let ttl = Duration::from_secs(30);
    let store = LateAnswers(MemoryStore::new());
    let locks = LockManager::builder().store(store.clone()).ttl(ttl).build().unwrap();
    let is_cautious = async |guard: &LockGuard| {
        let holder = store.inspect(&Key::new("lock", "job").unwrap()).await.unwrap().unwrap();
        let left = holder.remaining.unwrap();
        assert!(left > ttl / 3 * 2, "{left:?}: it was just acquired or renewed");
        assert!(guard.is_held() && guard.remaining() < left, "{:?} of {left:?}", guard.remaining());
    };
    let guard = locks.lock("job").acquire().await.unwrap();
    is_cautious(&guard).await;
    // The keeper's renewal is sent a third of the ttl after the acquire was, and has just been answered.
    sleep(ttl / 3 + Duration::from_millis(1)).await;
    is_cautious(&guard).await;
    guard.release().await.unwrap();
    let guard = locks.lock("job").renew(false).acquire().await.unwrap();
    guard.renew().await.unwrap();
    is_cautious(&guard).await;
}

/// The release shortens the lease to the rest of `at_least`.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_answered_after_the_release_does_not_prolong_the_lease() {
    let (ttl, at_least) = (Duration::from_secs(30), Duration::from_secs(20));
    let store = LateAnswers(MemoryStore::new());
    let locks = LockManager::builder().store(store.clone()).ttl(ttl).build().unwrap();
    let guard = locks.lock("job").at_least(at_least).acquire().await.unwrap();
    // The keeper's renewal, which is sent a third of the ttl after the acquire was, is then under way.
    sleep(Duration::from_secs(6)).await;
    guard.release().await.unwrap();
    sleep(at_least).await;
    assert!(store.inspect(&Key::new("lock", "job").unwrap()).await.unwrap().is_none());
}
