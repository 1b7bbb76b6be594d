//! A channel belongs to one connection, and a waiter's entry in the wait queue follows it to a new one.

use std::time::Duration;

use distlock::{Acquired, Enqueue, Hint, Key, OwnerToken, RedisStore, Store, StoreError};
use test_support::{Proxy, RedisServer, in_time};
use tokio::time::{Instant, sleep, timeout};

use crate::{SECOND, SOON, manager, queue_length};

fn key() -> Key {
    Key::new("lock", "k").unwrap()
}

/// Asks as a waiter that has just come.
async fn asks(store: &RedisStore, owner: &OwnerToken, ttl: Duration, fenced: bool) -> Result<(), StoreError> {
    let enqueue = Enqueue::new(Instant::now()).contended(true);
    let answer = store.acquire_or_enqueue(&key(), owner, ttl, fenced, enqueue).await?;
    assert!(matches!(answer, Acquired::Busy { .. }), "{answer:?}");
    Ok(())
}

/// A hand-over was published before its waiter's connection was given up, and comes late. By then the key may
/// be another waiter's.
#[tokio::test]
async fn a_hand_over_over_another_connection_than_the_entry_s_is_ignored() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let (store, owner) = (RedisStore::open(&proxy.url()).unwrap(), OwnerToken::random());
    let _held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    // Keeps the first connection open.
    let mut watch = store.wait_for_change(&key());
    assert!(timeout(SECOND / 20, &mut watch).await.is_err());
    asks(&store, &owner, SECOND * 30, false).await.unwrap();
    let channels = || server.command::<Vec<String>>(&["PUBSUB", "CHANNELS"]);
    let [first] = &channels().await[..] else { panic!("one channel") };
    proxy.let_replies_flow(false);
    asks(&store, &owner, SECOND * 30, false).await.unwrap_err();
    proxy.let_replies_flow(true);
    let hint = in_time(SOON, store.hint(&key(), &owner)).await;
    assert!(matches!(hint, Hint::MayBeFree), "a waiter whose connection broke has to ask");
    asks(&store, &owner, SECOND * 30, false).await.unwrap();
    let both = channels().await;
    let second = both.iter().find(|channel| *channel != first).expect("a channel of the new connection");

    let mut text = [0; OwnerToken::MAX_BYTES];
    let message = format!("30000 - {} lock:k", owner.encode(&mut text));
    for (channel, is_believed) in [(first, false), (second, true)] {
        assert_eq!(server.command::<u8>(&["PUBLISH", channel, &message]).await, 1, "it is listened to");
        let hint = in_time(SOON, store.hint(&key(), &owner)).await;
        assert_eq!(matches!(hint, Hint::HandedOver(_)), is_believed, "{hint:?}");
    }
}

#[tokio::test]
async fn asking_again_replaces_channel_and_ttl_and_token_of_an_entry_and_keeps_its_arrival() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let (store, other) = (RedisStore::open(&proxy.url()).unwrap(), RedisStore::open(&server.url()).unwrap());
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let (first, second) = (OwnerToken::random(), OwnerToken::random());
    asks(&store, &first, SECOND * 20, false).await.unwrap();
    sleep(SECOND / 20).await;
    asks(&other, &second, SECOND * 20, false).await.unwrap();
    proxy.cut();
    let hint = in_time(SOON, store.hint(&key(), &first)).await;
    assert!(matches!(hint, Hint::MayBeFree), "{hint:?}");
    asks(&store, &first, SECOND * 40, true).await.unwrap();
    held.release().await.unwrap();
    let hint = in_time(SOON, store.hint(&key(), &first)).await;
    let Hint::HandedOver(lease) = hint else { panic!("{hint:?}") };
    assert_eq!(lease.lasts, SECOND * 40);
    assert!(lease.fence.is_some());
    let remaining: i64 = server.command(&["PTTL", "lock:k"]).await;
    assert!(remaining > 30_000, "{remaining}");
    assert_eq!(queue_length(&server).await, 1, "the second waiter is still waiting");
    // The next command finds the other connection broken.
    let _ = store.inspect(&key()).await;
    // A waiter that has not asked for some seconds is passed over.
    asks(&other, &second, SECOND * 20, false).await.unwrap();
    assert!(store.release(&key(), &first).await.unwrap());
    assert!(other.release(&key(), &second).await.unwrap());
}
