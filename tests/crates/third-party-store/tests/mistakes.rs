//! A store that hands over, or takes a key again, in a wrong way is found out by the published contract.

use std::{
    future::{Future, pending},
    pin::Pin,
    time::Duration,
};

use distlock::{
    Acquired, Enqueue, FencingToken, HandOver, Hint, HintFuture, Holder, Key, NextWaiter, OwnerToken, Store,
    StoreFuture,
};
use third_party_store::QueueStore;
use tokio::time::Instant;

/// The store with one mistake.
#[derive(Clone)]
struct Mistaken {
    store: QueueStore,
    mistake: Mistake,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    SaysNobodyIsQueued,
    RegistersNobody,
    TellsNobody,
    TellsThatTheKeyMayBeFree,
    TellsEverybody,
    ServesInTheOrderOfAsking,
    PutsTheNamedWaiterFirst,
    PutsTheNamedWaiterLast,
    ForgetsTheNamedWaiter,
    ForgetsThatTheWaiterIsFenced,
    ForgetsTheFencingToken,
    NeverLetsAWaiterLeave,
    HandsOverForEver,
    TakesNoKeyAgain,
    TakesAgainFromAnybody,
    TakesAgainForTheWholeTtl,
    TakesAgainForLongerEachTime,
    TakesAgainWithoutTheToken,
    RaisesTheCounterForAnybody,
}
use Mistake as M;

/// Longer than a waiter of the contract asks for.
const LONG: Duration = Duration::from_secs(60);

impl Store for Mistaken {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        self.store.acquire(key, owner, ttl, fenced)
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        self.store.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        if self.mistake == M::NeverLetsAWaiterLeave && self.store.is_queued(owner) {
            return Box::pin(std::future::ready(Ok(true)));
        }
        self.store.release(key, owner)
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        self.store.inspect(key)
    }

    fn take_again(
        &self,
        key: &Key,
        owner: &OwnerToken,
        rest_of_ttl: Duration,
        fence: Option<FencingToken>,
    ) -> StoreFuture<bool> {
        let (store, key, owner, mistake) = (self.store.clone(), key.clone(), *owner, self.mistake);
        Box::pin(async move {
            let rest = if mistake == M::TakesAgainForTheWholeTtl { LONG } else { rest_of_ttl };
            let fence = fence.filter(|_| mistake != M::TakesAgainWithoutTheToken);
            let taken = mistake != M::TakesNoKeyAgain && store.take_again(&key, &owner, rest, fence).await?;
            match mistake {
                M::TakesAgainFromAnybody => return Ok(true),
                M::TakesAgainForLongerEachTime => store.renew(&key, &owner, rest).await?,
                M::RaisesTheCounterForAnybody if !taken && fence.is_some() => {
                    // One counter serves all keys of this server.
                    let other_key = Key::new("lock", "raised").expect("a key");
                    store.take_again(&other_key, &owner, Duration::from_millis(1), fence).await?
                }
                _ => true,
            };
            Ok(taken)
        })
    }

    fn acquire_or_enqueue(
        &self,
        key: &Key,
        owner: &OwnerToken,
        ttl: Duration,
        fenced: bool,
        enqueue: Enqueue,
    ) -> StoreFuture<Acquired> {
        let is_late = self.mistake == M::ServesInTheOrderOfAsking;
        let enqueue = if is_late { Enqueue::new(Instant::now()) } else { enqueue };
        let fenced = fenced && self.mistake != M::ForgetsThatTheWaiterIsFenced;
        let ttl = if self.mistake == M::HandsOverForEver { ttl.max(LONG) } else { ttl };
        self.store.acquire_or_enqueue(key, owner, ttl, fenced, enqueue)
    }

    fn is_queued(&self, owner: &OwnerToken) -> bool {
        self.mistake != M::SaysNobodyIsQueued && self.store.is_queued(owner)
    }

    fn register_waiter(&self, key: &Key, owner: &OwnerToken) -> bool {
        self.mistake != M::RegistersNobody && self.store.register_waiter(key, owner)
    }

    fn release_and_hand_over(
        &self,
        key: &Key,
        owner: &OwnerToken,
        mut next: NextWaiter,
    ) -> StoreFuture<bool> {
        match self.mistake {
            M::ForgetsTheNamedWaiter => return self.store.release(key, owner),
            M::PutsTheNamedWaiterFirst => next.waiting_since -= Duration::from_secs(1),
            M::PutsTheNamedWaiterLast => next.waiting_since += Duration::from_secs(1),
            _ => {}
        }
        self.store.release_and_hand_over(key, owner, next)
    }

    fn hint(&self, key: &Key, owner: &OwnerToken) -> HintFuture {
        let (mistake, hint) = (self.mistake, self.store.hint(key, owner));
        Box::pin(async move {
            match mistake {
                M::TellsNobody => pending().await,
                M::TellsThatTheKeyMayBeFree => Hint::MayBeFree,
                M::TellsEverybody => {
                    Hint::HandedOver(HandOver::new(distlock::Moment::now(), Duration::from_secs(1)))
                }
                M::ForgetsTheFencingToken => match hint.await {
                    Hint::HandedOver(lease) => Hint::HandedOver(lease.with_fence(None)),
                    hint => hint,
                },
                _ => hint.await,
            }
        })
    }
}

type Check = fn(Mistaken) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Checks that each mistake is reported with the sentence that it breaks.
async fn are_found(check: Check, mistakes: &[(Mistake, &str)]) {
    for (mistake, sentence) in mistakes {
        let store = Mistaken { store: QueueStore::new(), mistake: *mistake };
        let error = tokio::spawn(check(store)).await.expect_err(&format!("{mistake:?} is found"));
        let said = error.into_panic().downcast::<String>().expect("a message");
        assert!(said.contains(sentence), "{mistake:?}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mistake_in_a_hand_over_is_reported_with_the_sentence_that_it_breaks() {
    let hands_over = "gives the key to the waiter that has waited longest, in whatever process";
    let fence = "The fencing token, if the waiter asked for one.";
    let mistakes = [
        (M::SaysNobodyIsQueued, "puts the owner into the key's queue if the key is not granted."),
        (M::RegistersNobody, "Answers false if the hand-over would not be heard."),
        (M::TellsNobody, hands_over),
        (M::TellsThatTheKeyMayBeFree, hands_over),
        (M::TellsEverybody, hands_over),
        (M::ServesInTheOrderOfAsking, hands_over),
        (M::PutsTheNamedWaiterFirst, hands_over),
        (M::PutsTheNamedWaiterLast, hands_over),
        (M::ForgetsTheNamedWaiter, hands_over),
        (M::ForgetsThatTheWaiterIsFenced, fence),
        (M::ForgetsTheFencingToken, fence),
        (
            M::NeverLetsAWaiterLeave,
            "An owner that is queued leaves the wait queue, which counts as released.",
        ),
        (M::HandsOverForEver, "How long the lease lasts from then unless it is renewed."),
    ];
    let check: Check =
        |store| Box::pin(async move { distlock_store_tests::hand_over(&store, &store.clone()).await });
    are_found(check, &mistakes).await;
}

#[tokio::test(start_paused = true)]
async fn a_mistake_in_a_heal_is_reported_with_the_sentence_that_it_breaks() {
    let lasts = "The lease lasts for the rest of its ttl.";
    let refuses = "Answers false, and changes nothing, if another owner holds the key.";
    let mistakes = [
        (M::TakesNoKeyAgain, "Takes the key again, if it is free"),
        (M::TakesAgainFromAnybody, refuses),
        (M::TakesAgainForTheWholeTtl, lasts),
        (M::TakesAgainForLongerEachTime, "the second time changes nothing more."),
        (M::TakesAgainWithoutTheToken, "the key's fencing counter is raised to the lease's token"),
        (M::RaisesTheCounterForAnybody, refuses),
    ];
    are_found(|store| Box::pin(async move { distlock_store_tests::heal(&store).await }), &mistakes).await;
}
