//! The interface can be used from several threads. `docs/public-api.txt` cannot show it.

use std::time::Duration;

use distlock::{
    Acquired, Enqueue, FencingToken, HandOver, Hint, HintFuture, Holder, Key, KeyFault, LockError, LockGuard,
    LockManager, LockManagerBuilder, LockRequest, LostReason, MemoryStore, Moment, NextWaiter, OnLost,
    OwnerToken, QuorumStore, Release, Setting, Store, StoreError, StoreErrorKind, StoreFuture, with_manager,
};

fn is_send<T: Send>(value: T) -> T {
    value
}

fn is_send_and_sync<T: Send + Sync + Unpin>() {}

macro_rules! are_send_and_sync {
    ($($type:ty),* $(,)?) => { $(is_send_and_sync::<$type>();)* };
}

#[test]
fn every_type_can_be_sent_to_another_thread_and_shared() {
    are_send_and_sync!(
        Acquired,
        Box<dyn Store>,
        Enqueue,
        FencingToken,
        HandOver,
        Hint,
        Holder,
        Key,
        KeyFault,
        LockError,
        LockGuard,
        LockManager,
        LockManagerBuilder,
        LockRequest,
        LostReason,
        MemoryStore,
        Moment,
        NextWaiter,
        OnLost,
        OwnerToken,
        QuorumStore,
        Release,
        Setting,
        StoreError,
        StoreErrorKind,
    );
    #[cfg(feature = "redis")]
    are_send_and_sync!(distlock::RedisStore);
    #[cfg(feature = "testing")]
    are_send_and_sync!(distlock::testing::TestLocks);
    #[cfg(feature = "tower")]
    are_send_and_sync!(distlock::LockLayer<(), (), ()>, distlock::LockService<(), (), (), ()>);
    is_send::<Option<(HintFuture, StoreFuture<()>)>>(None);
}

#[tokio::test(start_paused = true)]
async fn every_future_can_be_sent_to_another_thread() {
    is_send(LockManager::connect("memory://")).await.unwrap();
    let locks = is_send(LockManager::builder().url("memory://").connect()).await.unwrap();
    assert!(is_send(locks.lock("first").try_acquire()).await.unwrap().is_some());
    is_send(locks.lock("second").run(async {})).await.unwrap();
    let guard = is_send(locks.lock("third").acquire()).await.unwrap();
    is_send(guard.renew()).await.unwrap();
    is_send(guard.run(async {})).await.unwrap();
    drop(is_send(guard.lost()));
    is_send(guard.release()).await.unwrap();
    is_send(with_manager(locks.clone(), async {})).await;
    is_send(locks.drain(Duration::ZERO)).await;
    is_send(locks.shutdown()).await;
}
