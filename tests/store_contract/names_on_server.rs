//! What the Redis store keeps on a server: the names of its keys, and what it does with values that it does
//! not understand.

use std::{collections::HashMap, time::Duration};

use distlock::{Acquired, Enqueue, Key, LockError, LockGuard, LockManager, OwnerToken, RedisStore, Store};
use distlock_core::__private::names_on_server;
use proptest::{collection::vec, prelude::*, sample::select};
use test_support::{RedisServer, eventually, in_time};
use tokio::{task::JoinHandle, time::Instant};

const SOON: Duration = Duration::from_secs(5);
const TTL: Duration = Duration::from_secs(30);
/// What hostile keys are made of.
const PIECES: &[&str] = &[
    "{",
    "}",
    "{}",
    ":",
    "\u{1f}",
    "\u{1f}\u{1f}",
    "\u{1f}q",
    "\u{1f}fBNNM",
    "app",
    "jobs",
    "x",
    "é",
    "\u{0}",
    "\n",
    "鍵",
];
/// The wait queue of `k` in the namespace `lock`.
const QUEUE: &str = "lock:k\u{1f}qBKK@";
/// The fencing counter of `k` in the namespace `lock`.
const COUNTER: &str = "lock:k\u{1f}fAFME";

fn cluster_server() -> RedisServer {
    RedisServer::start_with(&["--cluster-enabled", "yes"])
}

/// All texts of 1 to `longest` characters over an alphabet.
fn all_texts(alphabet: &str, longest: usize) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut from = 0;
    for _ in 0..longest {
        let to = texts.len();
        for at in from..to {
            for char in alphabet.chars() {
                texts.push(format!("{}{char}", texts[at]));
            }
        }
        from = to;
    }
    texts.split_off(1)
}

/// The server's own hash slots.
async fn slots(server: &RedisServer, names: &[Vec<u8>]) -> Vec<u16> {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut slots = Vec::with_capacity(names.len());
    for names in names.chunks(5000) {
        let mut pipeline = redis::pipe();
        for name in names {
            pipeline.cmd("CLUSTER").arg("KEYSLOT").arg(name.as_slice());
        }
        slots.extend(pipeline.query_async::<Vec<u16>>(&mut connection).await.unwrap());
    }
    slots
}

/// Checks the names of locks: companions are in their lock's slot and begin with its name, and no two names
/// are equal.
async fn names_are_sound(server: &RedisServer, locks: &[(String, String)]) {
    let keys = locks.iter().map(|(namespace, name)| Key::new(namespace, name).unwrap());
    let names: Vec<_> = keys.clone().flat_map(|key| names_on_server(&key)).collect();
    let slots = slots(server, &names).await;
    let mut whose = HashMap::new();
    for ((key, names), slots) in keys.zip(names.chunks(5)).zip(slots.chunks(5)) {
        assert_eq!(slots, [slots[0]; 5], "{key:?}: {names:?}");
        assert!(names.iter().all(|name| name.starts_with(&names[0])), "{key:?}");
        for (kind, name) in names.iter().enumerate() {
            let other = whose.insert(name.clone(), (key.clone(), kind));
            // The same lock may be drawn twice, as `app` + `jobs:x` and `app:jobs` + `x`.
            assert!(other.is_none_or(|other| other == (key.clone(), kind)), "{name:?}");
        }
    }
}

#[tokio::test]
async fn every_short_key_has_companions_of_its_own_in_its_hash_slot() {
    let server = cluster_server();
    let bare = all_texts("a{}:\u{1f}", 6).into_iter().map(|name| (String::new(), name));
    names_are_sound(&server, &bare.collect::<Vec<_>>()).await;
}

#[test]
fn any_key_has_companions_of_its_own_in_its_hash_slot() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(async { cluster_server() });
    let piece = || {
        let known = select(PIECES).prop_map(str::to_owned);
        prop_oneof![4 => known, 1 => any::<char>().prop_map(String::from)]
    };
    let text = |shortest: usize| vec(piece(), shortest..8).prop_map(|pieces| pieces.concat());
    let keys = vec((text(0), text(1)), 300);
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(keys in keys)| {
        runtime.block_on(names_are_sound(&server, &keys));
    });
}

#[tokio::test]
async fn keys_that_read_the_same_are_one_lock() {
    let server = cluster_server();
    let key = |namespace, name| Key::new(namespace, name).unwrap();
    assert_eq!(names_on_server(&key("app", "jobs:x")), names_on_server(&key("app:jobs", "x")));
    let locks = [("app", "jobs:x"), ("app:jobs", "x"), ("", "app:jobs:x"), ("app", "x")];
    names_are_sound(&server, &locks.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))).await;
}

/// A server that has all slots refuses a script whose keys are not in one slot.
#[tokio::test]
async fn scripts_name_keys_of_one_slot_only() {
    let server = cluster_server();
    let all: Vec<_> = (0..16384).map(|slot| slot.to_string()).collect();
    let words: Vec<_> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(all.iter().map(String::as_str)).collect();
    server.command::<()>(&words).await;
    eventually(SOON, || async {
        server.command::<String>(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok")
    })
    .await;
    // A node of a cluster would be refused if it said that it is one.
    server.command::<()>(&["ACL", "SETUSER", "default", "-info"]).await;
    let store = RedisStore::open(&server.url()).unwrap();
    for name in ["k", "{k}", "a}b", "a}b{", "a{}b", "{}{x}", "a{b", "\u{1f}"] {
        let key = Key::new("lock", name).unwrap();
        let [holder, waiter] = [(); 2].map(|()| OwnerToken::random());
        let granted = store.acquire(&key, &holder, TTL, true).await.unwrap();
        assert!(matches!(granted, Acquired::Granted { fence: Some(_), .. }), "{name}: {granted:?}");
        let enqueue = Enqueue::new(Instant::now()).contended(true);
        let busy = store.acquire_or_enqueue(&key, &waiter, TTL, true, enqueue).await.unwrap();
        assert!(matches!(busy, Acquired::Busy { .. }), "{name}: {busy:?}");
        assert!(store.is_queued(&waiter), "{name}");
        let hint = store.hint(&key, &waiter);
        assert!(store.release(&key, &holder).await.unwrap());
        let hint = in_time(SOON, hint).await;
        assert!(
            matches!(hint, distlock::Hint::HandedOver(lease) if lease.fence.is_some()),
            "{name}: {hint:?}"
        );
        assert!(store.renew(&key, &waiter, TTL).await.unwrap());
        assert!(store.release(&key, &waiter).await.unwrap());
    }
}

async fn manager(url: &str) -> LockManager {
    LockManager::connect(url).await.unwrap()
}

fn waits(locks: &LockManager, fenced: bool) -> JoinHandle<Result<LockGuard, LockError>> {
    let request = locks.lock("k").wait_forever();
    tokio::spawn(if fenced { request.fenced() } else { request }.acquire())
}

async fn gets(waiter: JoinHandle<Result<LockGuard, LockError>>) -> LockGuard {
    in_time(SOON, waiter).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_user_who_may_use_the_locks_names_alone_is_handed_the_key() {
    let server = RedisServer::start();
    let user = ["ACL", "SETUSER", "worker", "on", ">secret", "resetchannels", "~lock:*", "&lock:*", "+@all"];
    server.command::<()>(&user).await;
    let url = format!("redis://worker:secret@127.0.0.1:{}/", server.port());
    let (holder, waiting) = (manager(&url).await, manager(&url).await);
    for fenced in [false, true] {
        let held = holder.lock("k").acquire().await.unwrap();
        let waiter = waits(&waiting, fenced);
        eventually(SOON, || async { server.has(QUEUE).await }).await;
        let told = server.calls(&["publish"]).await;
        held.release().await.unwrap();
        gets(waiter).await.release().await.unwrap();
        assert_eq!(server.calls(&["publish"]).await, told + 1);
    }
    assert_eq!(server.command::<Vec<String>>(&["ACL", "LOG"]).await, [""; 0], "nothing was refused");
}

#[tokio::test]
async fn a_user_who_may_use_the_lock_alone_waits_by_polling() {
    let server = RedisServer::start();
    let user = ["ACL", "SETUSER", "worker", "on", ">secret", "allchannels", "~lock:k", "+@all"];
    server.command::<()>(&user).await;
    let url = format!("redis://worker:secret@127.0.0.1:{}/", server.port());
    let (holder, waiting) = (manager(&url).await, manager(&url).await);
    for _ in 0..2 {
        let held = holder.lock("k").acquire().await.unwrap();
        let waiter = waits(&waiting, false);
        tokio::time::sleep(Duration::from_millis(50)).await;
        held.release().await.unwrap();
        gets(waiter).await.release().await.unwrap();
        assert_eq!(server.keys().await, [""; 0]);
    }
}

/// Each with a waiter of another process and of the holder's own.
#[tokio::test]
async fn a_wait_queue_of_another_version_is_left_alone() {
    let server = RedisServer::start();
    let (holder, elsewhere) = (manager(&server.url()).await, manager(&server.url()).await);
    let told = server.calls(&["publish"]).await;
    for planted in ["3\nwhat a later version writes", "1\nwhat an earlier version has written\n", ""] {
        if planted.is_empty() {
            server.command::<u8>(&["DEL", QUEUE]).await;
            server.command::<u8>(&["LPUSH", QUEUE, "another type"]).await;
            server.command::<u8>(&["PEXPIRE", QUEUE, "600000"]).await;
        } else {
            server.command::<()>(&["SET", QUEUE, planted, "PX", "600000"]).await;
        }
        for waiting in [&holder, &elsewhere] {
            for fenced in [false, true] {
                let held = holder.lock("k").wait(SOON).acquire().await.unwrap();
                let waiter = waits(waiting, fenced);
                tokio::time::sleep(Duration::from_millis(100)).await;
                held.release().await.unwrap();
                gets(waiter).await.release().await.unwrap();
            }
        }
        assert!(!server.has("lock:k").await);
        assert!(server.command::<i64>(&["PTTL", QUEUE]).await > 500_000);
        if !planted.is_empty() {
            assert_eq!(server.command::<String>(&["GET", QUEUE]).await, planted);
        }
    }
    assert_eq!(server.calls(&["publish"]).await, told);
}

#[tokio::test]
async fn a_holder_without_a_token_hands_over_to_a_waiter_that_wants_one() {
    let server = RedisServer::start();
    let (holder, elsewhere) = (manager(&server.url()).await, manager(&server.url()).await);
    let mut last = None;
    for round in 0..3 {
        let held = holder.lock("k").wait(SOON).acquire().await.unwrap();
        let waiter = waits(&elsewhere, true);
        eventually(SOON, || async { server.has(QUEUE).await }).await;
        let scripts = server.calls(&["eval", "evalsha"]).await;
        held.release().await.unwrap();
        // The first release finds out that it has to name the counter. Later ones know.
        let sent = server.calls(&["eval", "evalsha"]).await - scripts;
        assert!(round == 0 || sent <= 2, "round {round}: {sent} scripts, the waiter's renewal among them");
        let guard = gets(waiter).await;
        assert!(guard.fencing_token() > last);
        last = guard.fencing_token();
        guard.release().await.unwrap();
    }
}

/// The release names a waiter of its own process, and finds another one before it.
#[tokio::test]
async fn a_release_that_names_a_waiter_hands_over_to_an_earlier_one_that_wants_a_token() {
    let server = RedisServer::start();
    let (holder, elsewhere) = (manager(&server.url()).await, manager(&server.url()).await);
    let held = holder.lock("k").acquire().await.unwrap();
    let first = waits(&elsewhere, true);
    eventually(SOON, || async { server.has(QUEUE).await }).await;
    let second = waits(&holder, false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    held.release().await.unwrap();
    let guard = gets(first).await;
    assert!(guard.fencing_token().is_some() && !second.is_finished());
    guard.release().await.unwrap();
    gets(second).await.release().await.unwrap();
    assert_eq!(server.keys().await, [COUNTER]);
}

#[tokio::test]
async fn a_key_is_released_when_memory_is_full_and_a_waiter_wants_a_token() {
    let server = RedisServer::start();
    let (holder, elsewhere) = (manager(&server.url()).await, manager(&server.url()).await);
    for in_process in [false, true] {
        let held = holder.lock("k").wait(SOON).acquire().await.unwrap();
        let waiter = waits(if in_process { &holder } else { &elsewhere }, true);
        eventually(SOON, || async { server.has(QUEUE).await }).await;
        server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
        let holder: String = server.command(&["GET", "lock:k"]).await;
        held.release().await.unwrap();
        let next: Option<String> = server.command(&["GET", "lock:k"]).await;
        // It is the waiter's, or free.
        assert_ne!(next, Some(holder), "the key is not the holder's any more");
        server.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
        let guard = gets(waiter).await;
        assert!(guard.fencing_token().is_some());
        guard.release().await.unwrap();
        assert!(!server.has("lock:k").await);
    }
}

/// The counter that a release has to draw from has become another type since the waiter has asked.
#[tokio::test]
async fn a_hand_over_that_cannot_draw_a_token_frees_the_key() {
    let server = RedisServer::start();
    let (holder, elsewhere) = (manager(&server.url()).await, manager(&server.url()).await);
    for in_process in [false, true] {
        let held = holder.lock("k").acquire().await.unwrap();
        let waiter = waits(if in_process { &holder } else { &elsewhere }, true);
        eventually(SOON, || async { server.has(QUEUE).await }).await;
        server.command::<()>(&["DEL", COUNTER]).await;
        server.command::<u8>(&["LPUSH", COUNTER, "another type"]).await;
        held.release().await.unwrap();
        assert!(!server.has("lock:k").await, "a grant that was made by half");
        waiter.abort();
        server.command::<()>(&["DEL", COUNTER]).await;
        eventually(SOON, || async { !server.has(QUEUE).await }).await;
    }
}

/// A counter that cannot be used prevents neither a release nor an acquire without a token.
#[tokio::test]
async fn a_counter_of_another_type_only_fails_fenced_acquires() {
    let server = RedisServer::start();
    let (holder, elsewhere) = (manager(&server.url()).await, manager(&server.url()).await);
    let held = holder.lock("k").acquire().await.unwrap();
    server.command::<u8>(&["LPUSH", COUNTER, "another type"]).await;
    let fenced = elsewhere.lock("k").fenced().wait(SOON).acquire().await;
    assert!(matches!(fenced, Err(LockError::Store { .. })), "{fenced:?}");
    let waiter = waits(&elsewhere, false);
    eventually(SOON, || async { server.has(QUEUE).await }).await;
    held.release().await.unwrap();
    gets(waiter).await.release().await.unwrap();
}
