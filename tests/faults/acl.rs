//! The access rules that docs/operations.md gives are enough, and none is too many. A missing right is named.

use std::{fs, time::Duration};

use distlock::{Key, LockError, LockManager, RedisStore, Store};
use distlock_store_tests::{contract, hand_over, heal, quorum_node};
use test_support::{RedisServer, eventually, in_time};
use tracing::subscriber::set_default;

use crate::{SOON, renews_by_set, warnings::Warnings};

/// The rules of a line `ACL SETUSER locks ..` in docs/operations.md, which follows a heading of this text.
fn rules(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let (_, after) = page.split_once(&format!("{heading}\n\n```text\n")).expect("the heading");
    let (line, _) = after.split_once("\n```").unwrap();
    line.split_whitespace().map(str::to_owned).collect()
}

async fn allow(server: &RedisServer, rules: &[String]) {
    server.command::<()>(&rules.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

fn url(server: &RedisServer) -> String {
    format!("redis://locks:secret@127.0.0.1:{}/", server.port())
}

/// What the server has refused, without the questions whose refusal is no error.
async fn refused(server: &RedisServer) -> Vec<String> {
    let log: Vec<Vec<redis::Value>> = server.command(&["ACL", "LOG"]).await;
    let object = |entry: &Vec<redis::Value>| {
        let words: Vec<String> =
            entry.iter().map(|word| redis::from_redis_value_ref(word).unwrap_or_default()).collect();
        words.chunks(2).find(|pair| pair[0] == "object").map(|pair| pair[1].clone()).unwrap()
    };
    let questions = [
        "role",
        "info",
        "config|get",
        "config",
        "time",
        "client|setinfo",
        "client|setname",
        "client|tracking",
        "client",
    ];
    let log = log.iter().map(object);
    log.filter(|object| !questions.contains(&object.as_str())).collect()
}

const MINUTE: Duration = Duration::from_secs(60);
const ONE_SERVER: &str = "For locks, waiting and fencing tokens on one server:";
const QUORUM: &str = "For a node of a quorum:";

#[tokio::test]
async fn the_user_of_the_manual_can_do_all_that_locks_need() {
    let server = RedisServer::start();
    allow(&server, &rules(ONE_SERVER)).await;
    let open = || RedisStore::open(&url(&server)).unwrap();
    contract(&open()).await;
    hand_over(&open(), &open()).await;
    let (holder, waiting) = (
        LockManager::connect(url(&server)).await.unwrap(),
        LockManager::connect(url(&server)).await.unwrap(),
    );
    for fenced in [false, true] {
        let held = holder.lock("order:42").acquire().await.unwrap();
        let lock = waiting.lock("order:42").wait(SOON);
        let waiter = tokio::spawn(async move { if fenced { lock.fenced() } else { lock }.acquire().await });
        eventually(SOON, async || server.wait_queue_of("lock:order:42").await.is_some()).await;
        let told = server.calls(&["publish"]).await;
        held.release().await.unwrap();
        in_time(SOON, waiter).await.unwrap().unwrap().release().await.unwrap();
        assert_eq!(server.calls(&["publish"]).await, told + 1);
    }
    assert_eq!(refused(&server).await, [""; 0]);
}

#[tokio::test]
async fn the_user_of_the_manual_can_do_all_that_a_quorum_needs() {
    let servers = [(); 3].map(|()| RedisServer::start());
    for server in &servers {
        allow(server, &rules(QUORUM)).await;
    }
    // The questions of the first connection are about wait queues, too.
    let forget_questions = async || {
        for server in &servers {
            server.command::<()>(&["ACL", "LOG", "RESET"]).await;
        }
    };
    for server in &servers {
        let store = RedisStore::open(&url(server)).unwrap();
        assert!(store.inspect(&Key::new("lock", "k").unwrap()).await.unwrap().is_none());
        forget_questions().await;
        quorum_node(&store).await;
        heal(&store).await;
    }
    let hosts = servers.each_ref().map(|server| format!("127.0.0.1:{}", server.port())).join(",");
    let locks = LockManager::builder()
        .url(format!("redlock://locks:secret@{hosts}"))
        .restart_delay(Duration::from_secs(3))
        .ttl(Duration::from_secs(3))
        // A node that is slow is skipped for a while.
        .connect_timeout(Duration::from_secs(10))
        .response_timeout(Duration::from_secs(10))
        .connect()
        .await
        .unwrap();
    let held = locks.lock("warm").wait(MINUTE).acquire().await.unwrap();
    held.release().await.unwrap();
    forget_questions().await;
    let held = locks.lock("k").wait(MINUTE).fenced().acquire().await.unwrap();
    let waiter = tokio::spawn(locks.lock("k").wait(MINUTE).acquire());
    // The waiter is to be told of the release, by client-side caching.
    for server in &servers {
        let tracks = |client: &str| {
            let flags = client.split("flags=").nth(1).and_then(|rest| rest.split(' ').next());
            flags.is_some_and(|flags| flags.contains('t'))
        };
        let clients = async || server.command::<String>(&["CLIENT", "LIST"]).await;
        eventually(MINUTE, async || clients().await.lines().any(tracks)).await;
    }
    held.release().await.unwrap();
    in_time(SOON, waiter).await.unwrap().unwrap().release().await.unwrap();
    for server in &servers {
        assert_eq!(refused(server).await, [""; 0]);
    }
}

/// Without any one of the rules, an error or a warning names the command.
#[tokio::test]
async fn each_right_of_the_manual_is_needed_and_named_where_it_is_missing() {
    let rules = rules(ONE_SERVER);
    let commands: Vec<_> = rules.iter().filter_map(|rule| rule.strip_prefix('+')).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for missing in &commands {
        let server = RedisServer::start();
        allow(&server, &rules).await;
        server.command::<()>(&["ACL", "SETUSER", "locks", &format!("-{missing}")]).await;
        let log = Warnings::default();
        let _guard = set_default(log.clone());
        let told = match LockManager::connect(url(&server)).await {
            Err(error) => error.to_string(),
            // A connection that waits for messages is needed to see this one.
            Ok(locks) if *missing == "subscribe" => {
                let _held = locks.lock("k").acquire().await.unwrap();
                let elsewhere = LockManager::connect(url(&server)).await.unwrap();
                elsewhere.lock("k").wait(Duration::from_millis(50)).acquire().await.unwrap_err();
                let logged = log.take().concat();
                assert!(logged.contains("'subscribe' command"), "{logged}");
                continue;
            }
            Ok(_) => log.take().concat(),
        };
        let name = missing.to_uppercase();
        assert!(told.contains(&name) && told.contains(&format!("`+{missing}`")), "{missing}: {told}");
    }
}

/// The same for a quorum.
#[tokio::test]
async fn each_right_of_a_quorums_node_is_needed_and_named_where_it_is_missing() {
    let rules = rules(QUORUM);
    let servers = [(); 3].map(|()| RedisServer::start());
    let hosts = servers.each_ref().map(|server| format!("127.0.0.1:{}", server.port())).join(",");
    let url = format!("redlock://locks:secret@{hosts}");
    let commands: Vec<_> = rules.iter().filter_map(|rule| rule.strip_prefix('+')).collect();
    assert!(commands.len() > 10, "{commands:?}");
    let rights = commands.iter().map(|command| format!("+{command}"));
    let keys = ["lock:*", "distlock-probe"].map(|key| format!("~{key}"));
    for missing in rights.chain(keys) {
        // A renewal needs it where the server cannot renew without a script.
        if missing == "+pexpire" && renews_by_set(&servers[0]).await {
            continue;
        }
        // Redis 6.2 does not take a subcommand away from a user.
        let kept: Vec<_> = rules.iter().filter(|rule| **rule != missing).cloned().collect();
        for server in &servers {
            server.command::<()>(&["ACL", "SETUSER", "locks", "reset"]).await;
            allow(server, &kept).await;
        }
        let log = Warnings::default();
        let _guard = set_default(log.clone());
        let told = match LockManager::connect(&url).await {
            Err(error) => error.to_string(),
            Ok(locks) if missing == "+subscribe" || missing.starts_with('~') => {
                locks.diagnose().await.to_string()
            }
            Ok(_) => log.take().concat(),
        };
        assert!(told.contains(&format!("`{missing}")), "{missing}: {told}");
    }
}

#[tokio::test]
async fn a_command_that_a_script_must_not_run_is_named_by_the_call() {
    let server = RedisServer::start();
    allow(&server, &rules(ONE_SERVER)).await;
    let locks = LockManager::connect(url(&server)).await.unwrap();
    server.command::<()>(&["ACL", "SETUSER", "locks", "-time"]).await;
    let error = locks.lock("order:42").fenced().acquire().await.unwrap_err();
    assert!(matches!(error, LockError::Store { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("TIME") && text.contains("`+time`") && !text.contains("subcommand"), "{text}");
    assert!(server.keys().await.is_empty());

    let held = locks.lock("order:42").acquire().await.unwrap();
    server.command::<()>(&["ACL", "SETUSER", "locks", "-pexpire"]).await;
    match held.renew().await {
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("PEXPIRE") && text.contains("`+pexpire`"), "{text}");
        }
        Ok(()) => assert!(renews_by_set(&server).await),
    }
    held.release().await.unwrap();
}

#[tokio::test]
async fn a_key_that_the_user_must_not_touch_is_named_by_the_call() {
    let server = RedisServer::start();
    let mut rules = rules(ONE_SERVER);
    rules.retain(|rule| !rule.starts_with('~'));
    rules.push("~shop:*".to_owned());
    allow(&server, &rules).await;
    let locks = LockManager::connect(url(&server)).await.unwrap();
    for lock in [locks.lock("order:42"), locks.lock("order:42").fenced()] {
        let text = lock.acquire().await.unwrap_err().to_string();
        assert!(text.contains("`lock:order:42`") && text.contains("`~lock:order:42*`"), "{text}");
    }
    let diagnosis = locks.diagnose().await.to_string();
    assert!(diagnosis.contains("`~lock:*`"), "{diagnosis}");
}

#[tokio::test]
async fn a_channel_that_the_user_must_not_use_is_named() {
    let server = RedisServer::start();
    let mut rules = rules(ONE_SERVER);
    rules.retain(|rule| !rule.starts_with('&'));
    allow(&server, &rules).await;
    let locks = LockManager::connect(url(&server)).await.unwrap();
    let diagnosis = locks.diagnose().await.to_string();
    assert!(diagnosis.contains("`&lock:*`"), "{diagnosis}");
}

/// An administrator has forgotten the companions, and allows them later.
#[tokio::test]
async fn releases_hand_over_again_some_time_after_the_rules_allow_it() {
    let server = RedisServer::start();
    let user = ["ACL", "SETUSER", "locks", "on", ">secret", "allchannels", "~lock:k", "+@all"];
    server.command::<()>(&user).await;
    let [holder, waiting] =
        [LockManager::connect(url(&server)).await, LockManager::connect(url(&server)).await];
    let (holder, waiting) = (holder.unwrap(), waiting.unwrap());
    let take_and_give_back = async || holder.lock("k").acquire().await.unwrap().release().await.unwrap();
    take_and_give_back().await;
    server.command::<()>(&["ACL", "SETUSER", "locks", "~lock:*"]).await;
    for _ in 0..101 {
        take_and_give_back().await;
    }
    let held = holder.lock("k").acquire().await.unwrap();
    let waiter = tokio::spawn(waiting.lock("k").wait(SOON).acquire());
    eventually(SOON, async || server.wait_queue_of("lock:k").await.is_some()).await;
    let told = server.calls(&["publish"]).await;
    held.release().await.unwrap();
    in_time(SOON, waiter).await.unwrap().unwrap().release().await.unwrap();
    assert_eq!(server.calls(&["publish"]).await, told + 1);
}
