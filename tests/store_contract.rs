//! What every store keeps to, written once and run over each.

use std::time::Duration;

use distlock::{
    Acquired, FencingToken, Key, MemoryStore, OwnerToken, QuorumStore, RedisStore, Store, StoreErrorKind,
};

mod common;

const TTL: Duration = Duration::from_secs(20);

fn key(name: &str) -> Key {
    Key::new("lock", name).unwrap()
}

/// An owner's view of a store.
struct Owner<'a> {
    store: &'a dyn Store,
    token: OwnerToken,
}

impl<'a> Owner<'a> {
    fn of(store: &'a dyn Store) -> Self {
        Self { store, token: OwnerToken::random() }
    }

    async fn acquire(&self, name: &str, ttl: Duration) -> Acquired {
        self.store.acquire(&key(name), &self.token, ttl, false).await.unwrap()
    }

    async fn fence(&self, name: &str) -> Option<FencingToken> {
        match self.store.acquire(&key(name), &self.token, TTL, true).await.unwrap() {
            Acquired::Granted { fence, .. } => fence,
            Acquired::Busy { .. } => None,
        }
    }

    async fn renew(&self, name: &str, ttl: Duration) -> bool {
        self.store.renew(&key(name), &self.token, ttl).await.unwrap()
    }

    async fn release(&self, name: &str) -> bool {
        self.store.release(&key(name), &self.token).await.unwrap()
    }
}

const GRANTED: Acquired = Acquired::granted(None);

async fn remaining(store: &dyn Store, name: &str) -> Duration {
    store.inspect(&key(name)).await.unwrap().expect("somebody holds it").remaining.expect("a ttl")
}

async fn contract(store: &dyn Store) {
    let (one, two) = (Owner::of(store), Owner::of(store));

    // Granted to the first, refused to the second, with what is left of the lease.
    assert_eq!(one.acquire("a", TTL).await, GRANTED);
    let Acquired::Busy { remaining: Some(left), .. } = two.acquire("a", TTL).await else {
        panic!("it is held")
    };
    assert!(left > TTL / 2 && left <= TTL, "{left:?}");
    assert!(remaining(store, "a").await <= TTL);

    // The same owner's acquire, sent again, is granted again.
    assert_eq!(one.acquire("a", TTL).await, GRANTED);

    // Only the owner renews and releases.
    assert!(!two.renew("a", TTL * 10).await);
    assert!(remaining(store, "a").await <= TTL);
    assert!(one.renew("a", TTL * 10).await);
    assert!(remaining(store, "a").await > TTL);
    assert!(!two.release("a").await);
    assert!(one.release("a").await);
    assert_eq!(store.inspect(&key("a")).await.unwrap(), None);
    assert!(!one.release("a").await, "twice is once");

    // A missing key is not made by a renewal.
    assert!(!one.renew("a", TTL).await);
    assert_eq!(store.inspect(&key("a")).await.unwrap(), None);

    // A lease that lapsed is nobody's, and then the next one's.
    let short = Duration::from_millis(30);
    assert_eq!(one.acquire("b", short).await, GRANTED);
    tokio::time::sleep(short * 2).await;
    assert_eq!(store.inspect(&key("b")).await.unwrap(), None);
    assert!(!one.renew("b", TTL).await);
    assert!(!one.release("b").await);
    assert_eq!(two.acquire("b", TTL).await, GRANTED);
    assert!(!one.release("b").await);
    assert!(two.renew("b", TTL).await, "the late release of the one before changed nothing");
    assert!(two.release("b").await);

    // Fencing tokens rise from grant to grant, and a repeat gets its own again.
    let first = one.fence("c").await.expect("a token");
    assert_eq!(one.fence("c").await, Some(first));
    assert_eq!(two.fence("c").await, None);
    assert!(one.release("c").await);
    // Who was refused comes back as somebody else.
    let two = Owner::of(store);
    let second = two.fence("c").await.expect("a token");
    assert!(second > first);
    assert!(two.release("c").await);

    // A quorum's proposal is drawn, where nothing higher was drawn before; only the owner raises, and never down.
    if store.raise_fence(&key("none"), &one.token, second).await.is_ok() {
        let propose = async |owner: &Owner<'_>, fence| match store
            .acquire_proposed(&key("d"), &owner.token, TTL, FencingToken::new(fence))
            .await
            .unwrap()
        {
            Acquired::Granted { fence, .. } => fence.expect("a token").value(),
            Acquired::Busy { .. } => panic!("it is free"),
        };
        let raise = async |owner: &Owner<'_>, fence| {
            store.raise_fence(&key("d"), &owner.token, FencingToken::new(fence)).await.unwrap()
        };
        let one = Owner::of(store);
        let proposed = second.value() + 50_000;
        assert_eq!(propose(&one, proposed).await, proposed);
        assert!(!raise(&two, proposed + 1).await, "it is not theirs");
        assert!(!raise(&one, proposed - 1).await, "it is lower than what was drawn");
        assert!(raise(&one, proposed).await);
        assert!(raise(&one, proposed + 10).await);
        assert!(!raise(&one, proposed + 9).await);
        assert_eq!(propose(&one, proposed).await, proposed + 10, "what it was raised to, sent again");
        assert!(one.release("d").await);
        assert!(!raise(&one, proposed + 20).await, "it is nobody's");
        let three = Owner::of(store);
        assert_eq!(propose(&three, proposed).await, proposed + 11);
        assert!(three.release("d").await);
        // No client's clock pulls a store's tokens away from its own.
        let four = Owner::of(store);
        assert!(propose(&four, proposed + 3_600_000_000).await < proposed + 60_000_000);
        assert!(four.release("d").await);
    }

    // Keys do not meet.
    assert_eq!(one.acquire("x", TTL).await, GRANTED);
    assert_eq!(two.acquire("x:y", TTL).await, GRANTED);
    assert_eq!(two.acquire("{x}", TTL).await, GRANTED);
    assert_eq!(two.acquire("x\0\n", TTL).await, GRANTED);
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_keeps_the_contract() {
    contract(&MemoryStore::new()).await;
}

fn quorum_of(nodes: impl IntoIterator<Item = Box<dyn Store>>) -> QuorumStore {
    QuorumStore::new(nodes.into_iter().enumerate().map(|(at, node)| (format!("node {at}"), node))).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_quorum_keeps_the_contract() {
    for nodes in [1, 2, 3, 4, 5] {
        contract(&quorum_of((0..nodes).map(|_| Box::new(MemoryStore::new()) as _))).await;
    }
}

#[tokio::test]
async fn a_quorum_of_redis_servers_keeps_the_contract() {
    let servers = [(); 3].map(|()| common::RedisServer::start());
    let store =
        quorum_of(servers.iter().map(|server| Box::new(RedisStore::open(&server.url()).unwrap()) as _));
    contract(&store).await;
    for server in &servers {
        // What the contract leaves; a minority may be a little behind.
        let locks = async || server.keys().await.into_iter().filter(|key| !key.contains('\u{1f}')).count();
        common::eventually(Duration::from_secs(5), async || locks().await == 4).await;
    }
}

#[tokio::test]
async fn the_redis_store_keeps_the_contract() {
    let server = common::RedisServer::start();
    contract(&RedisStore::open(&server.url()).unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_memory_store_hints_when_a_key_is_released() {
    let store = MemoryStore::new();
    let owner = Owner::of(&store);
    owner.acquire("a", TTL).await;
    let hint = store.hint(&key("a"), &OwnerToken::random());
    owner.release("a").await;
    hint.await;
    store.hint(&key("a"), &OwnerToken::random()).await;
}

#[tokio::test]
async fn a_redis_store_tells_a_watcher_of_every_change_to_a_held_key() {
    let server = common::RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let owner = Owner::of(&store);
    let soon = Duration::from_secs(5);

    let nothing = tokio::time::timeout(Duration::from_millis(50), store.wait_for_change(&key("a")));
    assert!(nothing.await.is_err(), "it is free");
    for round in 0..4 {
        let ttl = if round == 2 { Duration::from_secs(1) } else { TTL };
        assert_eq!(owner.acquire("a", ttl).await, GRANTED);
        let looked = server.calls(&["exists"]).await;
        let watch = tokio::spawn(store.wait_for_change(&key("a")));
        common::eventually(soon, || async { server.calls(&["exists"]).await > looked }).await;
        assert!(!watch.is_finished(), "round {round}: nothing has changed");
        match round {
            0 => assert!(owner.release("a").await),
            1 => server.command::<()>(&["DEL", "lock:a"]).await,
            2 => {}
            _ => server.command::<()>(&["FLUSHALL"]).await,
        }
        common::in_time(soon, watch).await.unwrap();
    }

    // A connection that breaks may have lost a message.
    assert_eq!(owner.acquire("a", TTL).await, GRANTED);
    let mut watch = store.wait_for_change(&key("a"));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut watch).await.is_err());
    server.command::<()>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    common::in_time(soon, watch).await;
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_and_stays_as_it_is() {
    let server = common::RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    server.command::<u8>(&["LPUSH", "lock:list", "theirs"]).await;
    let owner = Owner::of(&store);
    for fenced in [false, true] {
        let error = store.acquire(&key("list"), &owner.token, TTL, fenced).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::WrongType, "{error}");
    }
    assert!(!owner.renew("list", TTL).await);
    assert!(!owner.release("list").await);
    assert_eq!(server.command::<Vec<String>>(&["LRANGE", "lock:list", "0", "-1"]).await, ["theirs"]);
    assert_eq!(server.command::<i64>(&["PTTL", "lock:list"]).await, -1);
}

#[tokio::test]
async fn scripts_survive_script_flush() {
    let server = common::RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let owner = Owner::of(&store);
    for _ in 0..2 {
        assert_eq!(owner.acquire("a", TTL).await, GRANTED);
        server.command::<()>(&["SCRIPT", "FLUSH"]).await;
        assert!(owner.renew("a", TTL).await);
        server.command::<()>(&["SCRIPT", "FLUSH"]).await;
        assert!(owner.release("a").await);
        server.command::<()>(&["SCRIPT", "FLUSH"]).await;
        assert!(owner.fence("f").await.is_some());
    }
}

#[tokio::test]
async fn a_lease_is_the_owner_token_with_an_expiry_in_the_namespace() {
    let server = common::RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let owner = Owner::of(&store);
    owner.acquire("order:42", TTL).await;
    let mut text = [0; 36];
    assert_eq!(server.keys().await, ["lock:order:42"]);
    assert_eq!(server.command::<String>(&["GET", "lock:order:42"]).await, owner.token.encode(&mut text));
    let pttl: i64 = server.command(&["PTTL", "lock:order:42"]).await;
    assert!((1..=20_000).contains(&pttl), "{pttl}");
}

#[tokio::test]
async fn fencing_tokens_rise_after_the_server_lost_everything() {
    let mut server = common::RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let mut last = None;
    for step in 0..6 {
        let owner = Owner::of(&store);
        let fence = owner.fence("a").await;
        assert!(fence > last, "step {step}: {fence:?} after {last:?}");
        last = fence;
        match step {
            1 => server.command::<()>(&["FLUSHALL"]).await,
            2 => {
                server.restart();
                // The first command after it finds the old connection broken.
                let _ = store.inspect(&key("a")).await;
            }
            // A counter ahead of the clock, as after the clock stepped back.
            3 => {
                server.command::<()>(&["DEL", "lock:a"]).await;
                let ahead = server.command(&["INCRBY", "lock:a\u{1f}fC@IM", "1000000000000"]).await;
                last = Some(FencingToken::new(ahead));
            }
            _ => assert!(owner.release("a").await),
        }
    }
}

#[tokio::test]
async fn fencing_tokens_rise_over_a_failover_that_lost_the_last_writes() {
    let master = common::RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let replica = common::RedisServer::start_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let (before, after) =
        (RedisStore::open(&master.url()).unwrap(), RedisStore::open(&replica.url()).unwrap());
    let seen = Owner::of(&before);
    let first = seen.fence("a").await;
    common::eventually(Duration::from_secs(10), async || replica.has("lock:a").await).await;
    // Promoted, and what the old master still does is lost: another grant of the same key.
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    assert!(seen.release("a").await);
    let lost = Owner::of(&before).fence("a").await;
    assert!(lost > first);
    replica.command::<u8>(&["DEL", "lock:a"]).await;
    let next = Owner::of(&after).fence("a").await;
    assert!(next > lost, "{next:?} after {lost:?}");
}
