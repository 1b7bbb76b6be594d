//! A slot that moves in one step with all its keys, where the servers can do that: Valkey 9 and Redis 8.4.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use test_support::{eventually, in_time};
use tokio::time::sleep;

use super::{MINUTE, NEXT_CHECK, SOON, connect, own, resource::Resource};

const SKIPPED: &str = "skipped: these servers do not move a slot in one step";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_at_once_has_one_holder_at_a_time_and_rising_fencing_tokens() {
    let cluster = own().await;
    let tag = cluster.name_at("{at-once-", 0).await + "}";
    let slot = cluster.slot_of(&format!("lock:{tag}")).await;
    let mut source = cluster.first_owner_of(slot);
    let mut target = (source + 1) % 3;
    if !cluster.move_at_once(slot, source, target).await {
        return println!("{SKIPPED}");
    }
    let until = Instant::now() + Duration::from_secs(4);
    let (plain, fenced) = (Arc::<Resource>::default(), Arc::<Resource>::default());
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let locks = connect(&cluster).await;
        for _ in 0..2 {
            let (plain, fenced) = (Arc::clone(&plain), Arc::clone(&fenced));
            tasks.push(tokio::spawn(plain.use_it(locks.clone(), format!("{tag}:plain"), false, until)));
            tasks.push(tokio::spawn(fenced.use_it(locks.clone(), format!("{tag}:fenced"), true, until)));
        }
    }
    let mut moves = 0;
    while Instant::now() + Duration::from_millis(500) < until {
        (source, target) = (target, (target + 1) % 3);
        sleep(Duration::from_millis(50)).await;
        assert!(cluster.move_at_once(slot, source, target).await);
        moves += 1;
    }
    for task in tasks {
        in_time(MINUTE, task).await.unwrap();
    }
    let (gap, plain, fenced) = (plain.longest_gap(), plain.holds(), fenced.holds());
    println!("{moves} moves, {plain} and {fenced} holds; the longest time that the key was free: {gap:?}");
    assert!(moves >= 2 && plain > 100 && fenced > 20, "{moves} moves, {plain} and {fenced} holds");
    assert!(gap < NEXT_CHECK, "{gap:?}");
    let is_left = |name: &String| !name.contains("\u{1f}f") && name.contains(&tag);
    eventually(SOON + SOON, async || !cluster.keys().iter().any(is_left)).await;
}

/// The lock, its wait queue and its fencing counter arrive together.
#[tokio::test]
async fn a_lease_and_its_waiter_move_along() {
    let cluster = own().await;
    let name = "order:42";
    let slot = cluster.slot_of(&format!("lock:{name}")).await;
    let source = cluster.first_owner_of(slot);
    let held = connect(&cluster).await.lock(name).fenced().acquire().await.unwrap();
    let waiter = tokio::spawn(connect(&cluster).await.lock(name).fenced().wait(MINUTE).acquire());
    let is_queued = async || cluster.servers()[source].wait_queue_of(&format!("lock:{name}")).await.is_some();
    eventually(SOON, is_queued).await;
    if !cluster.move_at_once(slot, source, (source + 1) % 3).await {
        return println!("{SKIPPED}");
    }
    held.renew().await.unwrap();
    let before = held.fencing_token().unwrap();
    held.release().await.unwrap();
    let next = in_time(SOON, waiter).await.unwrap().unwrap();
    assert!(next.fencing_token().unwrap() > before);
    next.release().await.unwrap();
}
