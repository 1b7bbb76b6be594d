//! The contract of a store, which `store-tests` has, run over every store; and what only one store promises.

use std::time::Duration;

use distlock::{
    Acquired, FencingToken, Key, MemoryStore, OwnerToken, QuorumStore, RedisStore, Store, StoreErrorKind,
};
use distlock_store_tests::{contract, hand_over, heal, holders, quorum_node};
use test_support::{RedisServer, eventually, in_time};

mod lifetimes;
mod names_on_server;

const TTL: Duration = Duration::from_secs(20);

fn key(name: &str) -> Key {
    Key::new("lock", name).unwrap()
}

/// A store as one owner uses it.
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
            _ => None,
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

#[tokio::test(start_paused = true)]
async fn the_memory_store_keeps_the_contract() {
    let store = MemoryStore::new();
    contract(&store).await;
    quorum_node(&store).await;
    heal(&store).await;
    holders(&store).await;
}

fn quorum_of(nodes: impl IntoIterator<Item = Box<dyn Store>>) -> QuorumStore {
    QuorumStore::new(nodes.into_iter().enumerate().map(|(at, node)| (format!("node {at}"), node))).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_quorum_of_memory_stores_keeps_the_contract() {
    for nodes in [1, 2, 3, 4, 5] {
        let store = quorum_of((0..nodes).map(|_| Box::new(MemoryStore::new()) as _));
        contract(&store).await;
    }
}

#[tokio::test]
async fn a_quorum_of_redis_servers_keeps_the_contract() {
    let servers = [(); 3].map(|()| RedisServer::start());
    let store =
        quorum_of(servers.iter().map(|server| Box::new(RedisStore::open(&server.url()).unwrap()) as _));
    // Opens the connections. Without them, a renewal of a node may come before the acquire that it follows.
    let owner = Owner::of(&store);
    assert_eq!(owner.acquire("warm", TTL).await, GRANTED);
    for server in &servers {
        eventually(Duration::from_secs(5), async || server.has("lock:warm").await).await;
    }
    assert!(owner.release("warm").await);
    contract(&store).await;
    for server in &servers {
        // A minority may be released later.
        let locks = async || server.keys().await.into_iter().filter(|key| !key.contains('\u{1f}')).count();
        eventually(Duration::from_secs(5), async || locks().await == 0).await;
    }
}

#[tokio::test]
async fn the_redis_store_keeps_the_contract() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    contract(&store).await;
    quorum_node(&store).await;
    heal(&store).await;
    holders(&store).await;
    // As far as the server can tell, the second one is another process.
    hand_over(&store, &RedisStore::open(&server.url()).unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_hints_at_a_release() {
    let store = MemoryStore::new();
    let owner = Owner::of(&store);
    owner.acquire("a", TTL).await;
    let hint = store.hint(&key("a"), &OwnerToken::random());
    owner.release("a").await;
    hint.await;
    store.hint(&key("a"), &OwnerToken::random()).await;
}

#[tokio::test]
async fn the_redis_store_tells_of_every_change_to_a_held_key() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let owner = Owner::of(&store);
    let soon = Duration::from_secs(5);

    let nothing = tokio::time::timeout(Duration::from_millis(50), store.wait_for_change(&key("a")));
    assert!(nothing.await.is_err(), "the key is free");
    for round in 0..4 {
        let ttl = if round == 2 { Duration::from_secs(1) } else { TTL };
        assert_eq!(owner.acquire("a", ttl).await, GRANTED);
        let looked = server.calls(&["exists"]).await;
        let watch = tokio::spawn(store.wait_for_change(&key("a")));
        eventually(soon, || async { server.calls(&["exists"]).await > looked }).await;
        assert!(!watch.is_finished(), "round {round}: nothing has changed");
        match round {
            0 => assert!(owner.release("a").await),
            1 => server.command::<()>(&["DEL", "lock:a"]).await,
            2 => {}
            _ => server.command::<()>(&["FLUSHALL"]).await,
        }
        in_time(soon, watch).await.unwrap();
    }

    // A broken connection may have lost a message, so it counts as a change.
    assert_eq!(owner.acquire("a", TTL).await, GRANTED);
    let mut watch = store.wait_for_change(&key("a"));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut watch).await.is_err());
    server.command::<()>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    in_time(soon, watch).await;
}

#[tokio::test]
async fn a_key_of_another_type_is_an_error_and_stays_unchanged() {
    let server = RedisServer::start();
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
async fn scripts_work_after_script_flush() {
    let server = RedisServer::start();
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
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let owner = Owner::of(&store);
    owner.acquire("order:42", TTL).await;
    let mut text = [0; OwnerToken::MAX_BYTES];
    assert_eq!(server.keys().await, ["lock:order:42"]);
    assert_eq!(server.command::<String>(&["GET", "lock:order:42"]).await, owner.token.encode(&mut text));
    let pttl: i64 = server.command(&["PTTL", "lock:order:42"]).await;
    assert!((1..=20_000).contains(&pttl), "{pttl}");
}

#[tokio::test]
async fn fencing_tokens_rise_after_the_server_lost_its_data() {
    let mut server = RedisServer::start();
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
                // The next command finds the old connection broken.
                let _ = store.inspect(&key("a")).await;
            }
            // A counter ahead of the clock, as it is after the clock stepped back.
            3 => {
                server.command::<()>(&["DEL", "lock:a"]).await;
                let counter = server.fencing_counter_of("lock:a").await.unwrap();
                let ahead = server.command(&["INCRBY", &counter, "1000000000000"]).await;
                last = Some(FencingToken::new(ahead));
            }
            _ => assert!(owner.release("a").await),
        }
    }
}

#[tokio::test]
async fn fencing_tokens_rise_over_a_failover_that_lost_the_last_writes() {
    let master = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let (before, after) =
        (RedisStore::open(&master.url()).unwrap(), RedisStore::open(&replica.url()).unwrap());
    let seen = Owner::of(&before);
    let first = seen.fence("a").await;
    eventually(Duration::from_secs(10), async || replica.has("lock:a").await).await;
    // The replica is promoted. Later writes of the old master are lost, among them another grant of the key.
    replica.command::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    assert!(seen.release("a").await);
    let lost = Owner::of(&before).fence("a").await;
    assert!(lost > first);
    replica.command::<u8>(&["DEL", "lock:a"]).await;
    let next = Owner::of(&after).fence("a").await;
    assert!(next > lost, "{next:?} after {lost:?}");
}
