//! The stores of distlock-core keep the contract, and a store that breaks it is found out.

use std::time::Duration;

use distlock_core::{Acquired, Holder, Key, MemoryStore, OwnerToken, QuorumStore, Store, StoreFuture};

#[tokio::test(start_paused = true)]
async fn the_memory_store_keeps_the_contract() {
    let store = MemoryStore::new();
    distlock_store_tests::contract(&store).await;
    distlock_store_tests::quorum_node(&store).await;
    distlock_store_tests::heal(&store).await;
}

#[tokio::test(start_paused = true)]
async fn the_contract_can_be_run_again_on_the_same_store() {
    let store = MemoryStore::new();
    for _ in 0..3 {
        distlock_store_tests::contract(&store).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_quorum_keeps_the_contract() {
    for nodes in 1..=5 {
        let nodes =
            (0..nodes).map(|at| (format!("node {at}"), Box::new(MemoryStore::new()) as Box<dyn Store>));
        distlock_store_tests::contract(&QuorumStore::new(nodes).unwrap()).await;
    }
}

/// A store in memory with one mistake.
struct Mistaken {
    inner: MemoryStore,
    mistake: Mistake,
}

#[derive(PartialEq)]
enum Mistake {
    RenewsForEverybody,
    ReleasesForEverybody,
    ForgetsTheTtl,
    NeverDrawsAToken,
    SeesNoHolder,
}

impl Store for Mistaken {
    fn acquire(&self, key: &Key, owner: &OwnerToken, ttl: Duration, fenced: bool) -> StoreFuture<Acquired> {
        let ttl = if self.mistake == Mistake::ForgetsTheTtl { ttl * 1000 } else { ttl };
        self.inner.acquire(key, owner, ttl, fenced && self.mistake != Mistake::NeverDrawsAToken)
    }

    fn renew(&self, key: &Key, owner: &OwnerToken, ttl: Duration) -> StoreFuture<bool> {
        if self.mistake == Mistake::RenewsForEverybody {
            return Box::pin(std::future::ready(Ok(true)));
        }
        self.inner.renew(key, owner, ttl)
    }

    fn release(&self, key: &Key, owner: &OwnerToken) -> StoreFuture<bool> {
        let released = self.inner.release(key, owner);
        if self.mistake == Mistake::ReleasesForEverybody {
            return Box::pin(async move { released.await.map(|_| true) });
        }
        released
    }

    fn inspect(&self, key: &Key) -> StoreFuture<Option<Holder>> {
        if self.mistake == Mistake::SeesNoHolder {
            return Box::pin(std::future::ready(Ok(None)));
        }
        self.inner.inspect(key)
    }
}

async fn failure_of(check: impl Future<Output = ()> + Send + 'static) -> String {
    let error = tokio::spawn(check).await.expect_err("the check finds the mistake");
    *error.into_panic().downcast::<String>().expect("a message")
}

#[tokio::test(start_paused = true)]
async fn a_mistake_is_reported_with_the_sentence_that_it_breaks() {
    let not_the_owner = "Answers false, and changes nothing, if the owner does not hold the key.";
    for (mistake, sentence) in [
        (Mistake::RenewsForEverybody, not_the_owner),
        (Mistake::ReleasesForEverybody, not_the_owner),
        (Mistake::ForgetsTheTtl, "answers what is left of the holder's lease."),
        (Mistake::NeverDrawsAToken, "The fencing token, if the acquire asked for one."),
        (Mistake::SeesNoHolder, "Answers the key's holder; `None` if the key is free."),
    ] {
        let store = Mistaken { inner: MemoryStore::new(), mistake };
        let said = failure_of(async move { distlock_store_tests::contract(&store).await }).await;
        assert!(said.contains(sentence), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_without_wait_queues_does_not_pass_for_one_that_has_them() {
    let said = failure_of(async {
        let store = MemoryStore::new();
        distlock_store_tests::hand_over(&store, &store.clone()).await;
    });
    assert!(said.await.contains("puts the owner into the key's queue"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_key_again_does_not_pass_for_one_that_does() {
    let store = Mistaken { inner: MemoryStore::new(), mistake: Mistake::SeesNoHolder };
    let said = failure_of(async move { distlock_store_tests::heal(&store).await }).await;
    assert!(said.contains("Takes the key again, if it is free"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_raise_is_not_a_quorum_s_node() {
    let store = Mistaken { inner: MemoryStore::new(), mistake: Mistake::RenewsForEverybody };
    let said = failure_of(async move { distlock_store_tests::quorum_node(&store).await }).await;
    assert!(said.contains("raise"), "{said}");
}
