//! Keys, durations, managers and handlers from expressions.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use distlock::{LockManager, with_manager};
use functions::settings::{self, Key, Outcome, Service, TENANT};
use tokio::time::Instant;

use crate::locked;

#[tokio::test(start_paused = true)]
async fn expressions_are_keys() {
    let locks = LockManager::in_memory();
    assert_eq!(locked(&locks, "sku:a b", || settings::by_type("a b".into())).await, "a b!");
    assert!(!locked(&locks, "none", || settings::by_branch(0)).await, "its ttl is a second");
    assert!(locked(&locks, &Key::Order(1).to_string(), || settings::by_branch(1)).await);
    assert!(locked(&locks, "large", || settings::by_branch(10)).await);
    assert_eq!(locked(&locks, "day:1", || settings::by_block(86_401)).await, 86_401);
    assert_eq!(locked(&locks, "pair:1:2", || settings::pair(2, 1)).await, (2, 1));
    let of_task = || TENANT.scope("acme".into(), settings::by_task_local());
    assert_eq!(locked(&locks, "tenant:acme", of_task).await, "acme");
    assert_eq!(locked(&locks, "lazy", settings::by_static).await, 4);
    assert_eq!(
        locked(&locks, "helped:ab", || settings::helped("ab".into())).await,
        ("helped:ab".to_owned(), 2)
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_until_a_deadline() {
    let locks = LockManager::in_memory();
    let holder = locks.lock("until").acquire().await.unwrap();
    let start = Instant::now();
    let until = |deadline| with_manager(locks.clone(), settings::until(deadline));
    assert!(until(start + Duration::from_secs(1)).await.is_err());
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert!(until(start).await.is_err());
    assert_eq!(start.elapsed(), Duration::from_secs(1), "the deadline is over");
    let (left, ()) = tokio::join!(until(start + Duration::from_secs(9)), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        holder.release().await.unwrap();
    });
    assert_eq!(left.unwrap(), Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_lease_can_be_renewed_by_hand() {
    assert!(with_manager(LockManager::in_memory(), settings::renews_by_hand()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn expressions_are_managers() {
    let (eu, fallback) = (LockManager::in_memory(), LockManager::in_memory());
    let managers = BTreeMap::from([("eu", eu.clone())]);
    assert_eq!(locked(&eu, "region:eu", || settings::regional(&managers, &fallback, "eu")).await, 1);
    assert_eq!(locked(&fallback, "region:us", || settings::regional(&managers, &fallback, "us")).await, 1);
    let arc = Arc::new(eu.clone());
    let borrowed = &arc;
    assert_eq!(locked(&eu, "arc", || settings::arc(&borrowed, Arc::clone(&arc))).await, 1);
    settings::static_manager().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn handlers_give_the_answer_for_a_busy_key() {
    let locks = LockManager::in_memory();
    let with = || locks.clone();
    let mut service = Service::default();
    assert_eq!(with_manager(with(), settings::outcome(1)).await, Outcome::Done(1));
    assert_eq!(with_manager(with(), settings::gives_back(vec![1])).await.unwrap(), None);
    assert_eq!(with_manager(with(), settings::early(2)).await.unwrap(), 2);
    assert_eq!(with_manager(with(), service.counted(1)).await.unwrap(), 1);
    let cloned = locked(&locks, "cloned:c", || settings::cloned("c".into())).await;
    assert_eq!(cloned, "c");
    let mut holders = Vec::new();
    for key in ["outcome:1", "give-back:1", "early:1", "early:2", "method:1", "context:1"] {
        holders.push(locks.lock(key).acquire().await.unwrap());
    }
    assert_eq!(with_manager(with(), settings::outcome(1)).await, Outcome::Busy("outcome:1".into()));
    assert_eq!(with_manager(with(), settings::gives_back(vec![1])).await.unwrap(), Some(vec![1]));
    assert!(with_manager(with(), settings::early(1)).await.is_err());
    assert_eq!(with_manager(with(), settings::early(2)).await.unwrap(), 0);
    assert_eq!(with_manager(with(), service.counted(1)).await.unwrap(), 0);
    assert_eq!(*service.refused.lock().unwrap(), 1);
    let context = with_manager(with(), service.with_method(1)).await.unwrap_err();
    assert_eq!(context.to_string(), "refused");
    drop(holders);
    assert_eq!(settings::outcome(1).await, Outcome::Failed, "there is no manager");
}
