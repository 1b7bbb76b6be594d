//! The store keeps the contract, alone and as a quorum's node, and managers work over it.

use std::{sync::Arc, time::Duration};

use distlock::{FencingToken, LockManager, QuorumStore, Store};
use third_party_store::QueueStore;
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn it_keeps_the_contract() {
    let store = QueueStore::new();
    distlock_store_tests::contract(&store).await;
    distlock_store_tests::quorum_node(&store).await;
    distlock_store_tests::heal(&store).await;
    distlock_store_tests::holders(&store).await;
}

#[tokio::test(start_paused = true)]
async fn it_hands_over_between_its_clients() {
    let store = QueueStore::new();
    distlock_store_tests::hand_over(&store, &store.clone()).await;
}

#[tokio::test]
async fn it_keeps_the_contract_on_real_time() {
    let store = QueueStore::new();
    distlock_store_tests::contract(&store).await;
    distlock_store_tests::hand_over(&store, &store.clone()).await;
}

#[tokio::test(start_paused = true)]
async fn a_quorum_of_three_keeps_the_contract() {
    let nodes = (1..=3).map(|at| (format!("node {at}"), Box::new(QueueStore::new()) as Box<dyn Store>));
    distlock_store_tests::contract(&QuorumStore::new(nodes).unwrap()).await;
}

fn manager_over(store: &QueueStore) -> LockManager {
    LockManager::builder().store(store.clone()).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn waiters_of_two_managers_are_served_in_the_order_of_their_arrival() {
    let store = QueueStore::new();
    let managers = [manager_over(&store), manager_over(&store)];
    let held = managers[0].lock("order:42").fenced().acquire().await.unwrap();
    let before = held.fencing_token().unwrap();
    let served = Arc::new(Mutex::new(Vec::<(usize, FencingToken)>::new()));
    let mut waiters = Vec::new();
    for arrival in 0..8 {
        let (manager, served) = (managers[arrival / 2 % 2].clone(), Arc::clone(&served));
        waiters.push(tokio::spawn(async move {
            let guard = manager.lock("order:42").fenced().wait_forever().acquire().await.unwrap();
            served.lock().await.push((arrival, guard.fencing_token().unwrap()));
            // Longer than a hand-over lasts: the manager renews it.
            sleep(Duration::from_secs(5)).await;
            assert!(guard.is_held());
            guard.release().await.unwrap();
        }));
        sleep(Duration::from_millis(10)).await;
    }
    held.release().await.unwrap();
    for waiter in waiters {
        timeout(SOON * 10, waiter).await.expect("every waiter is served").unwrap();
    }
    let served = served.lock().await;
    assert_eq!(served.iter().map(|(arrival, _)| *arrival).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    assert!(served[0].1 > before && served.is_sorted_by(|one, next| one.1 < next.1), "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_holds_nobody_up() {
    let store = QueueStore::new();
    let (one, two) = (manager_over(&store), manager_over(&store));
    let held = one.lock("k").acquire().await.unwrap();
    let leaving = tokio::spawn(two.lock("k").wait(Duration::from_millis(50)).acquire());
    sleep(Duration::from_millis(10)).await;
    let staying = tokio::spawn(one.lock("k").wait_forever().acquire());
    assert!(timeout(SOON, leaving).await.unwrap().unwrap().is_err());
    held.release().await.unwrap();
    let guard = timeout(Duration::from_millis(10), staying).await.expect("at once").unwrap().unwrap();
    guard.release().await.unwrap();
    assert!(two.lock("k").try_acquire().await.unwrap().is_some());
}
