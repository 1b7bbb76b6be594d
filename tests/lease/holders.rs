//! A holder is shown by its label, and its owner token never is.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use distlock::{
    Holder, HolderKind, HolderStream, LockError, LockManager, MemoryStore, OwnerToken, RedisStore, Store,
    StoreErrorKind,
};
use test_support::{RedisServer, eventually, in_time};

use crate::SOON;

fn locks_of(server: &RedisServer, owner: &str) -> LockManager {
    LockManager::builder().url(server.url()).owner(owner).build().unwrap()
}

async fn all(mut holders: HolderStream) -> Vec<Holder> {
    let mut all = Vec::new();
    while let Some(holder) = in_time(SOON, holders.next()).await {
        all.push(holder.unwrap());
    }
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all
}

fn names(holders: &[Holder]) -> Vec<&str> {
    holders.iter().map(|holder| &*holder.key).collect()
}

#[tokio::test]
async fn a_holder_is_shown_with_its_label_its_times_and_its_waiters() {
    let server = RedisServer::start();
    let (locks, other) = (locks_of(&server, "pod-7"), locks_of(&server, "pod-8"));
    for (holders, others) in [(locks.clone(), other.clone()), {
        let store = MemoryStore::new();
        let manager = |owner| LockManager::builder().store(store.clone()).owner(owner).build().unwrap();
        (manager("pod-7"), manager("pod-8"))
    }] {
        assert_eq!(others.inspect("k").await.unwrap(), None);
        // The time is in whole milliseconds.
        let before = SystemTime::now() - Duration::from_millis(1);
        let _guard = holders.lock("k").acquire().await.unwrap();
        let after = SystemTime::now();
        let holder = others.inspect("k").await.unwrap().unwrap();
        assert_eq!((&*holder.key, holder.label.as_deref()), ("k", Some("pod-7")));
        assert!(holder.since.is_some_and(|since| before <= since && since <= after), "{holder:?}");
        let remaining = holder.remaining.unwrap();
        assert!(remaining > Duration::from_secs(20) && remaining <= Duration::from_secs(30), "{remaining:?}");
        assert_eq!((holder.kind, holder.waiters), (HolderKind::Exclusive, Some(0)));
        let waiter = tokio::spawn(others.lock("k").wait_forever().acquire());
        eventually(SOON, async || others.inspect("k").await.unwrap().unwrap().waiters == Some(1)).await;
        waiter.abort();
    }
}

#[tokio::test]
async fn a_value_is_the_owner_token_and_the_label_and_shows_in_nothing_else() {
    let server = RedisServer::start();
    let locks = locks_of(&server, "pod-7");
    let _guard = locks.lock("k").acquire().await.unwrap();
    let value: String = server.command(&["GET", "lock:k"]).await;
    let (token, label) = value.split_once(' ').unwrap();
    assert_eq!((token.len(), label), (36, "pod-7"));
    let holder = locks.inspect("k").await.unwrap().unwrap();
    let refused = locks.lock("k").acquire().await.unwrap_err();
    let secret = &token[14..];
    let shown = format!("{holder:?} {} {refused} {refused:?}", holder.id().unwrap());
    assert!(!shown.contains(secret), "{shown}");
}

#[tokio::test]
async fn a_refusal_names_the_holder_to_a_call_and_to_a_waiter() {
    let server = RedisServer::start();
    let (locks, other) = (locks_of(&server, "pod-7"), locks_of(&server, "pod-8"));
    let _guard = locks.lock("k").acquire().await.unwrap();
    let _fenced = locks.lock("f").fenced().acquire().await.unwrap();
    let short = Duration::from_millis(50);
    let k = || other.lock("k");
    for request in
        [k(), k(), k().wait(short), k().fenced(), k().fenced().wait(short), other.lock("f").fenced()]
    {
        let refused = in_time(SOON, request.acquire()).await.unwrap_err();
        assert!(refused.to_string().contains(" is busy: held by pod-7 for another "), "{refused}");
        let LockError::Busy { remaining, holder: Some(holder), .. } = refused else { panic!("{refused:?}") };
        assert_eq!((holder.label.as_deref(), holder.remaining), (Some("pod-7"), remaining));
    }
}

#[tokio::test]
async fn the_label_is_the_host_and_the_process_unless_it_is_set() {
    let locks = LockManager::connect("memory://").await.unwrap();
    let _guard = locks.lock("k").acquire().await.unwrap();
    let label = locks.inspect("k").await.unwrap().unwrap().label.unwrap();
    let (host, process) = label.rsplit_once(':').unwrap();
    assert_eq!(process, std::process::id().to_string());
    assert!(!host.is_empty(), "{label}");
    let locks = LockManager::connect("memory://?owner=pod-9").await.unwrap();
    let _guard = locks.lock("k").acquire().await.unwrap();
    assert_eq!(locks.inspect("k").await.unwrap().unwrap().label.as_deref(), Some("pod-9"));
}

#[test]
fn a_label_that_is_none_is_refused_before_anything_is_sent() {
    for wrong in ["", "two words", "line\n", "caf\u{e9}", &"x".repeat(65)] {
        let refused = LockManager::builder().url("memory://").owner(wrong).build().unwrap_err();
        assert!(matches!(refused, LockError::Config { .. }), "{refused}");
        assert!(refused.to_string().contains("`owner` is not a label; write 1 to 64 printable"), "{refused}");
    }
    let refused = LockManager::builder().url("memory://?owner=a").owner("b").build().unwrap_err();
    assert!(refused.to_string().contains("`owner` is \"a\" in the URL"), "{refused}");
}

#[tokio::test]
async fn a_list_has_the_held_keys_of_the_namespace_that_begin_with_the_prefix() {
    let server = RedisServer::start();
    let (locks, others) = (locks_of(&server, "pod-7"), locks_of(&server, "pod-8"));
    let shop = LockManager::builder().url(server.url()).namespace("shop").build().unwrap();
    let keys = ["a*b", "a\u{1f}", "a\u{1f}\u{1f}b", "order:1", "order:2", "order[1]", "{a}:1"];
    let mut guards = vec![shop.lock("order:9").acquire().await.unwrap()];
    for key in keys {
        guards.push(locks.lock(key).fenced().acquire().await.unwrap());
    }
    // The companions of a lock are none.
    let waiter = tokio::spawn(others.lock("order:1").wait_forever().fenced().acquire());
    eventually(SOON, async || locks.inspect("order:1").await.unwrap().unwrap().waiters == Some(1)).await;
    server.command::<()>(&["SET", "lock:foreign", "0af7c9d6a3d011efb864325096b39f47", "PX", "30000"]).await;
    server.command::<()>(&["RPUSH", "lock:list", "x"]).await;
    let found = all(others.list("")).await;
    assert_eq!(
        names(&found),
        ["a\u{1f}", "a\u{1f}\u{1f}b", "a*b", "foreign", "order:1", "order:2", "order[1]", "{a}:1"]
    );
    for holder in &found {
        let (label, kind) = match &*holder.key {
            "foreign" => (None, HolderKind::Foreign),
            _ => (Some("pod-7"), HolderKind::Exclusive),
        };
        assert_eq!((holder.label.as_deref(), holder.kind), (label, kind));
        assert!(holder.remaining.is_some());
    }
    assert_eq!(names(&all(others.list("order:")).await), ["order:1", "order:2"]);
    assert_eq!(names(&all(others.list("order[")).await), ["order[1]"]);
    assert_eq!(names(&all(others.list("a*")).await), ["a*b"]);
    assert_eq!(names(&all(others.list("a\u{1f}")).await), ["a\u{1f}", "a\u{1f}\u{1f}b"]);
    assert_eq!(names(&all(others.list("none")).await), [""; 0]);
    // Without a namespace, what the application has set is not a lock.
    let bare = LockManager::builder().url(server.url()).namespace("").build().unwrap();
    server.command::<()>(&["SET", "session", "x"]).await;
    let of_bare = all(bare.list("")).await;
    let keys: BTreeSet<_> = names(&of_bare).into_iter().collect();
    assert!(keys.contains("shop:order:9") && keys.contains("lock:order:1"), "{keys:?}");
    assert!(!keys.contains("session") && !keys.contains("lock:foreign"), "{keys:?}");
    waiter.abort();
}

#[tokio::test]
async fn a_list_of_many_keys_is_read_in_pages() {
    const KEYS: usize = 100_000;
    // SCAN is asked for 512 names, and answers whole buckets of its table.
    const LONGEST_PAGE: usize = 2 * 512;
    // Piece by piece, so that no script runs for long.
    const FILL: &str = "for i = ARGV[1], ARGV[1] + 499 do redis.call('SET', 'lock:' .. i, ARGV[2]) end";
    let server = RedisServer::start();
    for first in (0..KEYS).step_by(500) {
        let value = "7d3c6ee4-5f3f-4d2c-9d0e-000000000000 pod:1";
        server.command::<()>(&["EVAL", FILL, "0", &first.to_string(), value]).await;
    }
    let locks = locks_of(&server, "pod-7");
    let mut holders = locks.list("");
    for _ in 0..10 {
        assert!(holders.next().await.unwrap().is_ok());
    }
    drop(holders);
    assert!(server.calls(&["scan"]).await <= 2, "a list reads no further than it is asked");
    let (mut found, mut pages) = (BTreeSet::new(), 0);
    let mut list = RedisStore::open(&server.url()).unwrap().list("lock", "");
    while let Some(page) = in_time(SOON, list.next_page()).await.unwrap() {
        assert!(page.len() <= LONGEST_PAGE, "{} holders are in memory at a time", page.len());
        assert!(page.iter().all(|holder| holder.remaining.is_none()), "they have no expiry");
        found.extend(page.into_iter().map(|holder| holder.key));
        pages += 1;
    }
    assert_eq!(found.len(), KEYS);
    assert!(pages >= KEYS / LONGEST_PAGE, "{pages} pages");
    assert_eq!(server.calls(&["keys"]).await, 0);
}

#[tokio::test]
async fn connections_are_named_by_the_label() {
    let server = RedisServer::start();
    let (locks, other) = (locks_of(&server, "pod-7"), locks_of(&server, "pod-8"));
    let _guard = locks.lock("k").acquire().await.unwrap();
    let waiter = tokio::spawn(other.lock("k").wait_forever().acquire());
    let named = async |name: &str| {
        let clients: String = server.command(&["CLIENT", "LIST"]).await;
        clients.lines().filter(|client| client.contains(&format!(" name={name} "))).count()
    };
    // One for commands, and one for waiting.
    eventually(SOON, async || named("pod-7").await == 1 && named("pod-8").await == 2).await;
    waiter.abort();
}

#[tokio::test]
async fn a_user_that_may_not_name_or_list_locks_all_the_same() {
    let server = RedisServer::start();
    let rules = ["ACL", "SETUSER", "app", "on", ">pw", "~lock:*", "&*", "+@all", "-client|setname", "-scan"];
    server.command::<()>(&rules).await;
    let url = server.url().replace("redis://", "redis://app:pw@");
    let locks = LockManager::connect(url).await.unwrap();
    let _guard = locks.lock("k").acquire().await.unwrap();
    assert!(locks.inspect("k").await.unwrap().is_some());
    let mut list = locks.list("");
    let LockError::Store { source, .. } = list.next().await.unwrap().unwrap_err() else { panic!() };
    assert_eq!(source.kind(), StoreErrorKind::Refused);
    assert!(source.to_string().contains("allow it by `+scan`"), "{source}");
    assert!(list.next().await.is_none(), "an error ends the list");
}

#[test]
fn a_fresh_token_has_the_label_of_its_process() {
    let process = format!(":{}", std::process::id());
    assert!(OwnerToken::random().label().ends_with(&process));
}
