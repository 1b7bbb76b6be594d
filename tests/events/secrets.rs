//! What is logged shows no owner token.

use std::time::Duration;

use distlock::{LockManager, Release};
use test_support::{RedisServer, eventually, in_time};

use crate::{SOON, recorder::Recorder, run};

const TTL: Duration = Duration::from_millis(500);

/// Notes the owner token of the key's holder, as the server has it.
async fn note_owner(server: &RedisServer, owners: &mut Vec<String>) {
    let value: String = server.command(&["GET", "lock:k"]).await;
    let (uuid, _label) = value.split_once(' ').expect("a UUID, a space and a label");
    assert!(!owners.iter().any(|owner| owner == uuid), "each grant has an owner of its own");
    owners.push(uuid.to_owned());
}

#[test]
fn no_event_and_no_span_shows_an_owner_token() {
    let (recorder, _guard) = Recorder::start();
    let mut server = RedisServer::start();
    let mut owners = Vec::new();
    run(async {
        let locks = LockManager::connect(server.url()).await.unwrap();
        let lock = locks.lock("k").ttl(TTL);
        // Released after a hand-over to a waiter of another process, and in the background.
        let guard = lock.clone().fenced().acquire().await.unwrap();
        note_owner(&server, &mut owners).await;
        let others = LockManager::connect(server.url()).await.unwrap();
        let waiter = tokio::spawn(others.lock("k").wait_forever().release(Release::Background).acquire());
        eventually(SOON, async || server.wait_queue_of("lock:k").await.is_some()).await;
        guard.release().await.unwrap();
        let guard = waiter.await.unwrap().unwrap();
        note_owner(&server, &mut owners).await;
        drop(guard);
        // Busy, and lost by a break.
        let guard = in_time(SOON, lock.clone().wait(SOON).acquire()).await.unwrap();
        note_owner(&server, &mut owners).await;
        lock.clone().acquire().await.unwrap_err();
        let seen = locks.inspect("k").await.unwrap().unwrap();
        assert!(others.break_lock(&seen).await.unwrap());
        in_time(SOON, guard.lost()).await;
        drop(guard);
        // Neither renewed nor released.
        let guard = lock.acquire().await.unwrap();
        note_owner(&server, &mut owners).await;
        server.stop();
        in_time(SOON, guard.lost()).await;
        guard.release().await.unwrap_err();
    });
    for message in ["lock granted", "lock released", "lock lost", "lock busy", "renewal failed, trying again"]
    {
        assert!(recorder.has(message), "{message}");
    }
    let spans = [recorder.spans("distlock.acquire"), recorder.spans("distlock.hold")];
    let all = format!("{:?} {spans:?}", recorder.take());
    for owner in &owners {
        assert!(!all.contains(owner), "{owner} in {all}");
    }
}
