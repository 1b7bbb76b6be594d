//! A lease that another process hands over lasts its whole ttl. Until the store has confirmed the hand-over,
//! two seconds of it are certain, and then the body is suspended.

use std::{
    future::{Future, poll_fn},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use distlock::{
    Acquired, Enqueue, HandOver, Hint, HintFuture, Holder, Key, LockError, LockManager, LostReason,
    MemoryStore, Moment, OwnerToken, Store, StoreFuture,
};
use test_support::in_time;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use crate::SECOND;

const TTL: Duration = Duration::from_secs(30);

/// Hands each key over to its waiter as soon as the waiter listens, and answers claims when it is told to.
#[derive(Clone, Default)]
struct HandingOver {
    store: MemoryStore,
    answer: Arc<Mutex<Option<bool>>>,
    answered: Arc<Notify>,
    claims: Arc<Mutex<Vec<Instant>>>,
}

impl HandingOver {
    fn answer_claims(&self, answer: bool) {
        *self.answer.lock().unwrap() = Some(answer);
        self.answered.notify_waiters();
    }

    fn claims(&self) -> Vec<Instant> {
        self.claims.lock().unwrap().clone()
    }
}

impl Store for HandingOver {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.store.acquire(key, owner, ttl, fenced)
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.store.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        self.store.release(key, owner)
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.store.inspect(key)
    }

    fn acquire_or_enqueue(
        &self,
        _key: &Key,
        _owner: &OwnerToken,
        _ttl: Duration,
        _fenced: bool,
        _enqueue: Enqueue,
    ) -> StoreFuture<Acquired> {
        Box::pin(async { Ok(Acquired::busy(Some(TTL))) })
    }

    fn is_queued(&self, _owner: &OwnerToken) -> bool {
        true
    }

    fn hint(&self, key: &Key, owner: &OwnerToken) -> HintFuture {
        let acquire = self.store.acquire(key, owner, TTL, false);
        Box::pin(async {
            let since = Moment::now();
            assert!(matches!(acquire.await, Ok(Acquired::Granted { .. })));
            Hint::HandedOver(HandOver::new(since, TTL).with_claim_within(SECOND * 2))
        })
    }

    fn confirm_hand_over(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        let (this, renew) = (self.clone(), self.store.renew(key, owner, ttl));
        Box::pin(async move {
            this.claims.lock().unwrap().push(Instant::now());
            loop {
                let answered = this.answered.notified();
                let answer = *this.answer.lock().unwrap();
                match answer {
                    Some(true) => return renew.await,
                    Some(false) => return Ok(false),
                    None => answered.await,
                }
            }
        })
    }
}

fn manager() -> (HandingOver, LockManager) {
    let store = HandingOver::default();
    let locks = LockManager::builder().store(store.clone()).ttl(TTL).build().unwrap();
    (store, locks)
}

/// Counts the seconds of a body.
async fn count_seconds(seconds: &Mutex<u32>) {
    for _ in 0..20 {
        sleep(SECOND).await;
        *seconds.lock().unwrap() += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn a_handed_over_lease_has_its_whole_ttl_once_the_store_has_confirmed_it() {
    let (store, locks) = manager();
    store.answer_claims(true);
    let guard = locks.lock("k").wait_forever().acquire().await.unwrap();
    tokio::task::yield_now().await;
    assert!(guard.remaining() > SECOND * 29, "{:?}", guard.remaining());
    assert_eq!(store.claims().len(), 1);
    guard.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handed_over_lease_is_claimed_before_its_guard_is_handed_out() {
    let (store, locks) = manager();
    let guard = locks.lock("k").wait_forever().acquire().await.unwrap();
    assert_eq!(store.claims(), [Instant::now()]);
    assert!(guard.is_held());
    let certain = guard.remaining();
    assert!(certain > SECOND && certain < SECOND * 2, "{certain:?}");
    sleep(SECOND * 3).await;
    assert!(!guard.is_held(), "the next waiter may have been served");
    assert_eq!(guard.remaining(), Duration::ZERO);
    store.answer_claims(true);
    sleep(SECOND / 10).await;
    assert!(guard.is_held() && guard.remaining() > SECOND * 20, "{:?}", guard.remaining());
    guard.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_is_suspended_while_its_hand_over_is_not_confirmed_and_goes_on_afterwards() {
    let (store, locks) = manager();
    let seconds = Mutex::new(0);
    let body = locks.lock("k").wait_forever().run(count_seconds(&seconds));
    let watch = async {
        sleep(SECOND * 5).await;
        assert_eq!(*seconds.lock().unwrap(), 1, "it is suspended before two seconds have passed");
        store.answer_claims(true);
        sleep(SECOND * 5).await;
        assert!(*seconds.lock().unwrap() > 4);
    };
    let (body, ()) = tokio::join!(body, watch);
    body.unwrap();
    assert_eq!(*seconds.lock().unwrap(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_body_is_stopped_when_the_key_turns_out_to_be_anothers() {
    let (store, locks) = manager();
    let seconds = Mutex::new(0);
    let body = locks.lock("k").wait_forever().run(count_seconds(&seconds));
    let watch = async {
        sleep(SECOND * 5).await;
        store.answer_claims(false);
    };
    let (body, ()) = tokio::join!(body, watch);
    assert!(matches!(body, Err(LockError::Lost { reason: LostReason::NotOwner, .. })));
    assert_eq!(*seconds.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_body_is_stopped_when_its_ttl_is_over() {
    let (_store, locks) = manager();
    let (start, seconds) = (Instant::now(), Mutex::new(0));
    let body = locks.lock("k").wait_forever().run(count_seconds(&seconds));
    let body = in_time(TTL * 2, body).await;
    assert!(matches!(body, Err(LockError::Lost { reason: LostReason::Expired, .. })));
    assert!(start.elapsed() <= TTL, "{:?}", start.elapsed());
    assert_eq!(*seconds.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_value_of_a_body_that_ended_while_it_was_uncertain_waits_for_the_confirmation() {
    for answer in [true, false] {
        let (store, locks) = manager();
        let body = locks.lock("k").wait_forever().run(async {
            // Time passes within one poll of the body, as when it blocks its thread.
            tokio::time::advance(SECOND * 3).await;
            7
        });
        let confirm = async {
            sleep(SECOND * 5).await;
            store.answer_claims(answer);
        };
        let (value, ()) = tokio::join!(body, confirm);
        if answer {
            assert_eq!(value.unwrap(), 7);
        } else {
            assert!(matches!(value, Err(LockError::Lost { reason: LostReason::NotOwner, .. })));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_while_its_hand_over_is_claimed_leaves_no_key() {
    let (store, locks) = manager();
    let mut acquire = Box::pin(locks.lock("k").wait_forever().acquire());
    while store.claims().is_empty() {
        let polled = poll_fn(|cx| Poll::Ready(acquire.as_mut().poll(cx))).await;
        assert!(polled.is_pending(), "the connection has had no turn to send the claim");
    }
    drop(acquire);
    sleep(SECOND).await;
    let rival = LockManager::builder().store(store.store.clone()).build().unwrap();
    assert!(rival.lock("k").try_acquire().await.unwrap().is_some(), "the key was released");
}
