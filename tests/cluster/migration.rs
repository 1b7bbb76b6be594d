//! A slot that moves key by key takes its locks along: exclusion, fencing, hand-overs and releases.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use distlock::{Acquired, Enqueue, Hint, LockError, LockManager, OwnerToken, Store, StoreErrorKind};
use test_support::{RedisCluster, eventually, in_time};
use tokio::time::sleep;

use super::{MINUTE, NEXT_CHECK, SOON, connect, key, own, resource::Resource, shared, store_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moving_slot_has_one_holder_at_a_time_and_rising_fencing_tokens_and_loses_no_wake_up() {
    let cluster = own().await;
    let tag = cluster.name_at("{moving-", 0).await + "}";
    let slot = cluster.slot_of(&format!("lock:{tag}")).await;
    let from = cluster.first_owner_of(slot);
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
    let (mut source, mut target) = (from, (from + 1) % 3);
    while Instant::now() + Duration::from_millis(500) < until {
        sleep(Duration::from_millis(50)).await;
        cluster.begin_move(slot, source, target).await;
        sleep(Duration::from_millis(50)).await;
        cluster.move_keys(slot, source, target).await;
        sleep(Duration::from_millis(50)).await;
        cluster.move_keys(slot, source, target).await;
        cluster.end_move(slot, target).await;
        (source, target) = (target, (target + 1) % 3);
        moves += 1;
    }
    for task in tasks {
        in_time(MINUTE, task).await.unwrap();
    }
    let (gap, plain, fenced) = (plain.longest_gap(), plain.holds(), fenced.holds());
    println!("{moves} moves, {plain} and {fenced} holds; the longest time that the key was free: {gap:?}");
    assert!(moves >= 3 && plain > 100 && fenced > 20, "{moves} moves, {plain} and {fenced} holds");
    assert!(gap < NEXT_CHECK, "{gap:?}");
    // Wait queues lapse after 10 s at the latest. The fencing counter stays.
    let is_left = |name: &String| !name.contains("\u{1f}f") && name.contains(&tag);
    eventually(SOON + SOON, async || !cluster.keys().iter().any(is_left)).await;
}

#[tokio::test]
async fn every_operation_is_done_on_both_sides_of_a_move() {
    let cluster = own().await;
    let (locks, other) = (connect(&cluster).await, connect(&cluster).await);
    let name = cluster.name_at("{sides-", 0).await + "}";
    let redis_key = format!("lock:{name}");
    let slot = cluster.slot_of(&redis_key).await;
    let from = cluster.first_owner_of(slot);
    let to = (from + 1) % 3;

    let held = locks.lock(&name).acquire().await.unwrap();
    cluster.begin_move(slot, from, to).await;
    let busy = || async { matches!(other.lock(&name).acquire().await, Err(LockError::Busy { .. })) };
    let renewed = async || held.renew().await.is_ok();
    assert!(renewed().await && busy().await, "the key is at the source");
    cluster.move_key(&redis_key, from, to).await;
    assert!(renewed().await && busy().await, "the key is at the target");
    held.release().await.unwrap();
    assert!(cluster.keys().is_empty(), "{:?}", cluster.keys());

    let held = locks.lock(&name).wait(SOON).acquire().await.unwrap();
    assert!(cluster.servers()[to].keys().await.contains(&redis_key), "the target makes new keys");
    assert!(busy().await);
    held.release().await.unwrap();
    assert!(cluster.keys().is_empty(), "{:?}", cluster.keys());

    match other.lock(&name).fenced().acquire().await {
        Err(LockError::Store { source, .. }) => {
            assert_eq!(source.kind(), StoreErrorKind::Unavailable);
            assert!(
                source.to_string().contains("a fencing token can be drawn when it has moved"),
                "{source}"
            );
        }
        other => panic!("{other:?}"),
    }
    let waiter = tokio::spawn(other.lock(&name).fenced().wait(MINUTE).acquire());
    cluster.end_move(slot, to).await;
    in_time(SOON, waiter).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn waiters_of_a_slot_that_has_moved_are_served_at_once_and_in_their_order() {
    let cluster = own().await;
    let name = cluster.name_at("{order-", 0).await + "}";
    let slot = cluster.slot_of(&format!("lock:{name}")).await;
    let from = cluster.first_owner_of(slot);
    let to = (from + 1) % 3;
    let held = connect(&cluster).await.lock(&name).acquire().await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for number in 0..3 {
        let (locks, order) = (connect(&cluster).await, Arc::clone(&order));
        let acquire = locks.lock(&name).wait(MINUTE).acquire();
        waiters.push(tokio::spawn(async move {
            let guard = acquire.await.unwrap();
            order.lock().unwrap().push((number, Instant::now()));
            guard.release().await.unwrap();
        }));
        // The next one comes later.
        let queued = async || {
            let keys = cluster.servers()[from].keys().await;
            let order = keys.iter().find(|key| key.contains("\u{1f}z"));
            match order {
                Some(order) => cluster.servers()[from].command::<usize>(&["ZCARD", order]).await > number,
                None => false,
            }
        };
        eventually(SOON, queued).await;
    }
    cluster.begin_move(slot, from, to).await;
    cluster.move_keys(slot, from, to).await;
    cluster.end_move(slot, to).await;
    // They hear of the key's departure, and ask at its new server. The entries have come there with the slot,
    // and say when their owners have asked last.
    let target = &cluster.servers()[to];
    let (seconds, micros): (u64, u64) = target.command(&["TIME"]).await;
    let entries = target.keys().await.into_iter().find(|key| key.contains("\u{1f}e")).unwrap();
    let have_asked = async || {
        let entries: Vec<String> = target.command(&["HVALS", &entries]).await;
        let asked = entries.iter().filter_map(|entry| entry.split(' ').next()?.parse::<u64>().ok());
        asked.filter(|asked| *asked >= seconds * 1_000_000 + micros).count() == 3
    };
    eventually(NEXT_CHECK * 2, have_asked).await;
    let freed_at = Instant::now();
    held.release().await.unwrap();
    for waiter in waiters {
        in_time(SOON, waiter).await.unwrap();
    }
    let order = order.lock().unwrap().clone();
    assert_eq!(order.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
    let longest = order.iter().map(|(_, at)| *at).max().unwrap() - freed_at;
    println!("three waiters were served {longest:?} after the release");
    assert!(longest < NEXT_CHECK, "{longest:?}");
}

/// The source has handed the key over, and its message is lost while the slot moves.
#[tokio::test]
async fn a_waiter_whose_message_was_lost_in_a_move_asks_by_itself() {
    let start = || RedisCluster::start_with_gates(&[]);
    let cluster = tokio::task::spawn_blocking(start).await.unwrap();
    let name = cluster.name_at("{unheard-", 0).await + "}";
    let lock = format!("lock:{name}");
    let slot = cluster.slot_of(&lock).await;
    let from = cluster.first_owner_of(slot);
    let to = (from + 1) % 3;
    let (holder, other) = (connect(&cluster).await, connect(&cluster).await);
    let source = &cluster.servers()[from];
    let acquire = |locks: &LockManager| locks.lock(&name).ttl(MINUTE).wait(MINUTE).acquire();
    let is_queued = async || source.waiters_of(&lock).await == 1;
    // After a release to a waiter, the next release needs one round trip only, and so no reply.
    let (held, first) = (acquire(&holder).await.unwrap(), tokio::spawn(acquire(&other)));
    eventually(SOON, is_queued).await;
    held.release().await.unwrap();
    in_time(SOON, first).await.unwrap().unwrap().release().await.unwrap();
    let (held, waiter) = (acquire(&holder).await.unwrap(), tokio::spawn(acquire(&other)));
    eventually(SOON, is_queued).await;
    let owner = async || source.command::<Option<String>>(&["GET", &lock]).await;
    let before = owner().await;
    cluster.keep_replies_of(from);
    let release = tokio::spawn(held.release());
    eventually(SOON, async || owner().await.is_some_and(|owner| Some(owner) != before)).await;
    cluster.begin_move(slot, from, to).await;
    cluster.move_keys(slot, from, to).await;
    cluster.end_move(slot, to).await;
    assert!(!waiter.is_finished());
    cluster.lose_replies_of(from);
    let lost_at = Instant::now();
    let guard = in_time(SOON, waiter).await.unwrap().unwrap();
    println!("the waiter found its lease {:?} after the move", lost_at.elapsed());
    assert!(lost_at.elapsed() < NEXT_CHECK, "{:?}", lost_at.elapsed());
    guard.release().await.unwrap();
    // The old holder's release was executed.
    let _ = in_time(MINUTE, release).await;
}

#[tokio::test]
async fn a_hand_over_that_is_claimed_while_the_slot_moves_lasts() {
    let cluster = own().await;
    let [holder, next, last] = [(); 3].map(|()| store_of(&cluster));
    let name = cluster.name_at("{claim-", 0).await + "}";
    let (key, redis_key) = (key(&name), format!("lock:{name}"));
    let slot = cluster.slot_of(&redis_key).await;
    let from = cluster.first_owner_of(slot);
    let to = (from + 1) % 3;
    let [first, second, third] = [(); 3].map(|()| OwnerToken::random());
    let ttl = Duration::from_secs(20);
    let since = tokio::time::Instant::now();
    let enqueue = Enqueue::new(since).contended(true);
    holder.acquire(&key, &first, ttl, false).await.unwrap();
    next.acquire_or_enqueue(&key, &second, ttl, false, enqueue).await.unwrap();
    last.acquire_or_enqueue(&key, &third, ttl, false, Enqueue::new(since + Duration::from_millis(50)))
        .await
        .unwrap();
    assert!(holder.release(&key, &first).await.unwrap());
    let handed_over_at = Instant::now();
    let hint = in_time(SOON, next.hint(&key, &second)).await;
    assert!(matches!(hint, Hint::HandedOver(_)), "{hint:?}");
    // The lock and the queue are at two servers when the lease is claimed.
    cluster.begin_move(slot, from, to).await;
    cluster.move_key(&redis_key, from, to).await;
    assert!(next.confirm_hand_over(&key, &second, ttl).await.unwrap());
    cluster.move_keys(slot, from, to).await;
    cluster.end_move(slot, to).await;
    // The time for a claim is two seconds. The next waiter then looks twice.
    while handed_over_at.elapsed() < Duration::from_millis(2600) {
        let asked = last.acquire_or_enqueue(&key, &third, ttl, false, enqueue).await.unwrap();
        assert!(matches!(asked, Acquired::Busy { .. }), "{asked:?} after {:?}", handed_over_at.elapsed());
        sleep(Duration::from_millis(150)).await;
    }
    assert!(next.renew(&key, &second, ttl).await.unwrap());
    assert!(next.release(&key, &second).await.unwrap());
}

#[tokio::test]
async fn a_waiter_that_gives_up_while_its_slot_moves_leaves_the_wait_queue() {
    let cluster = own().await;
    let name = cluster.name_at("{leaves-", 0).await + "}";
    let slot = cluster.slot_of(&format!("lock:{name}")).await;
    let from = cluster.first_owner_of(slot);
    let to = (from + 1) % 3;
    let held = connect(&cluster).await.lock(&name).acquire().await.unwrap();
    let waiter = tokio::spawn(connect(&cluster).await.lock(&name).wait(MINUTE).acquire());
    let queue_of =
        |companion: char| cluster.keys().into_iter().find(|key| key.contains(&format!("\u{1f}{companion}")));
    eventually(SOON, async || queue_of('z').is_some()).await;
    cluster.begin_move(slot, from, to).await;
    cluster.move_key(&queue_of('q').unwrap(), from, to).await;
    waiter.abort();
    // What is left of the queue is its version, which lapses after 10 s like the whole queue would.
    let soon = Duration::from_secs(4);
    eventually(soon, async || queue_of('z').is_none() && queue_of('e').is_none()).await;
    held.release().await.unwrap();
}

#[tokio::test]
async fn an_uncovered_slot_is_a_typed_error_and_the_others_go_on() {
    let cluster = shared().await;
    // A cluster that serves the slots that it has.
    for server in cluster.primaries() {
        server.command::<()>(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    }
    let locks = connect(cluster).await;
    let name = cluster.name_at("gone-", 2).await;
    let slot = cluster.slot_of(&format!("lock:{name}")).await;
    let server = &cluster.servers()[2];
    server.command::<()>(&["CLUSTER", "DELSLOTS", &slot.to_string()]).await;
    match locks.lock(&name).acquire().await {
        Err(LockError::Store { source, .. }) => {
            assert_eq!(source.kind(), StoreErrorKind::Unavailable, "{source}");
            let message = source.to_string();
            let is_known =
                message.contains("CLUSTERDOWN") || message.contains("no server of the cluster has");
            assert!(is_known, "{message}");
        }
        other => panic!("{other:?}"),
    }
    let fine = cluster.name_at("fine-", 1).await;
    locks.lock(&fine).acquire().await.unwrap().release().await.unwrap();
    let waiter = tokio::spawn(locks.lock(&name).wait(MINUTE).acquire());
    server.command::<()>(&["CLUSTER", "ADDSLOTS", &slot.to_string()]).await;
    in_time(SOON, waiter).await.unwrap().unwrap().release().await.unwrap();
}
