//! A server that took a lock can always give it back: where it refuses scripts, by commands of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use distlock::{LockError, LockManager, LostReason};
use test_support::{RedisServer, RewritingProxy, Words};

use crate::{SOON, lazy, own_releases};

const FORBIDDEN: &str = "NOPERM this user has no permissions to run the eval command or its subcommand";
const DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
const SET: &str = "if redis.call('GET', KEYS[1]) == ARGV[2] then \
                   return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3]) end return false";

/// A command that runs a script of one key.
fn script(code: &str, key_and_arguments: &[Vec<u8>]) -> Words {
    let begin = ["EVAL", code, "1"].map(|word| word.as_bytes().to_vec());
    begin.into_iter().chain(key_and_arguments.iter().cloned()).collect()
}

fn texts(words: &Words) -> Vec<&str> {
    words.iter().map(|word| str::from_utf8(word).unwrap_or_default()).collect()
}

/// A proxy that counts commands, and that shows a server as one that forbids scripts and has these commands.
/// No server with all of them can be had, so that they run as scripts.
async fn without_scripts(
    server: &RedisServer,
    has: &'static [&'static str],
) -> (RewritingProxy, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let rewrite = move |words: Words| {
        count.fetch_add(1, Ordering::Relaxed);
        let is_known = |name| has.contains(&name);
        match *texts(&words) {
            ["EVAL" | "EVALSHA", ..] => RewritingProxy::error(FORBIDDEN),
            ["DELEX", key, "IFEQ", value] if is_known("DELEX") => script(DELETE, &[key.into(), value.into()]),
            ["DELIFEQ", ..] if is_known("DELIFEQ") => script(DELETE, &words[1..]),
            ["SET", key, new, "IFEQ", old, "PX", ttl] if is_known("SET IFEQ") => {
                script(SET, &[key.into(), new.into(), old.into(), ttl.into()])
            }
            [name @ ("DELEX" | "DELIFEQ"), ..] => {
                RewritingProxy::error(&format!("ERR unknown command \"{name}\""))
            }
            ["SET", _, _, "IFEQ", ..] => RewritingProxy::error("ERR syntax error"),
            _ => words,
        }
    };
    (RewritingProxy::to(server.port(), rewrite).await, sent)
}

/// Locks without waiting queues and fencing tokens work, and each step leaves what it has to.
async fn locks_work(url: &str, server: &RedisServer) {
    let ttl = Duration::from_secs(20);
    let locks = LockManager::connect(url).await.unwrap();
    let lock = || locks.lock("order:42").ttl(ttl);
    for _ in 0..2 {
        let held = lock().acquire().await.unwrap();
        lock().acquire().await.unwrap_err();
        server.command::<()>(&["PEXPIRE", "lock:order:42", "5000"]).await;
        held.renew().await.unwrap();
        assert!(server.command::<i64>(&["PTTL", "lock:order:42"]).await > 15_000);
        held.release().await.unwrap();
        assert_eq!(server.keys().await, [""; 0]);
    }
    // A lease of another owner is neither renewed nor ended.
    let held = lock().acquire().await.unwrap();
    server.command::<()>(&["SET", "lock:order:42", "stranger", "PX", "30000"]).await;
    let error = held.renew().await.unwrap_err();
    assert!(matches!(error, LockError::Lost { reason: LostReason::NotOwner, .. }), "{error}");
    server.command::<()>(&["DEL", "lock:order:42"]).await;
    let held = lock().acquire().await.unwrap();
    server.command::<()>(&["SET", "lock:order:42", "stranger", "PX", "30000"]).await;
    held.release().await.unwrap_err();
    assert_eq!(server.command::<String>(&["GET", "lock:order:42"]).await, "stranger");
    server.command::<()>(&["DEL", "lock:order:42"]).await;
    // Nor is a value of another type.
    let held = lock().acquire().await.unwrap();
    server.command::<()>(&["DEL", "lock:order:42"]).await;
    server.command::<()>(&["HSET", "lock:order:42", "a", "b"]).await;
    held.release().await.unwrap_err();
    server.command::<()>(&["DEL", "lock:order:42"]).await;

    let held = lock().acquire().await.unwrap();
    let elsewhere = LockManager::connect(url).await.unwrap();
    let waiter = tokio::spawn(elsewhere.lock("order:42").wait(SOON).acquire());
    tokio::time::sleep(Duration::from_millis(100)).await;
    held.release().await.unwrap();
    waiter.await.unwrap().unwrap().release().await.unwrap();
    assert_eq!(server.keys().await, [""; 0]);

    let fenced = lock().fenced().acquire().await.unwrap_err();
    assert!(matches!(fenced, LockError::Store { .. }), "{fenced}");
    assert_eq!(server.keys().await, [""; 0]);
    let diagnosis = locks.diagnose().await.to_string();
    for promise in ["given back without them", "so that waiters poll", "with `fenced` are refused"] {
        assert!(diagnosis.contains(promise), "{diagnosis}");
    }
}

/// A manager that connects, and one that does not, get `Config`, and nothing is taken.
async fn locks_are_refused(url: &str, server: &RedisServer, missing: &str) {
    let waits = lazy(url).lock("order:42").wait(SOON);
    for error in [
        LockManager::connect(url).await.unwrap_err(),
        lazy(url).lock("order:42").acquire().await.unwrap_err(),
        waits.acquire().await.unwrap_err(),
    ] {
        assert!(matches!(error, LockError::Config { .. }), "{error}");
        assert!(error.to_string().contains(missing), "{error}");
    }
    assert_eq!(server.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_forbids_scripts_gives_back_by_its_own_commands_or_grants_nothing() {
    let server = RedisServer::start();
    let rules = ["on", ">secret", "resetchannels", "~lock:*", "+@all", "-eval", "-evalsha"];
    server.command::<()>(&[&["ACL", "SETUSER", "locks"], &rules[..]].concat()).await;
    let url = format!("redis://locks:secret@127.0.0.1:{}/", server.port());
    if own_releases(&server).await.is_empty() {
        locks_are_refused(&url, &server, "EVAL and EVALSHA").await;
    } else {
        locks_work(&url, &server).await;
    }
}

#[tokio::test]
async fn delex_gives_a_lock_back() {
    let server = RedisServer::start();
    let (proxy, _) = without_scripts(&server, &["DELEX", "SET IFEQ"]).await;
    locks_work(&proxy.url(), &server).await;
}

#[tokio::test]
async fn delifeq_gives_a_lock_back() {
    let server = RedisServer::start();
    let (proxy, _) = without_scripts(&server, &["DELIFEQ", "SET IFEQ"]).await;
    locks_work(&proxy.url(), &server).await;
}

#[tokio::test]
async fn the_way_back_is_found_once() {
    let server = RedisServer::start();
    let (proxy, sent) = without_scripts(&server, &["DELEX", "SET IFEQ"]).await;
    let locks = LockManager::connect(proxy.url()).await.unwrap();
    let cycle = async || {
        let held = locks.lock("order:42").acquire().await.unwrap();
        held.renew().await.unwrap();
        held.release().await.unwrap();
    };
    cycle().await;
    let before = sent.load(Ordering::Relaxed);
    for _ in 0..10 {
        cycle().await;
    }
    assert_eq!(sent.load(Ordering::Relaxed) - before, 30, "SET, SET and DELEX");
}

/// A lock that could be given back, and not be renewed, would be lost in the middle of each longer body.
#[tokio::test]
async fn a_server_that_could_not_take_back_or_not_renew_grants_nothing() {
    let server = RedisServer::start();
    for has in [&[][..], &["DELEX"], &["DELIFEQ"], &["SET IFEQ"]] {
        let (proxy, _) = without_scripts(&server, has).await;
        locks_are_refused(&proxy.url(), &server, "EVAL and EVALSHA").await;
    }
}

/// Some clouds accept scripts that use `KEYS[n]` alone as keys and do not publish. Such a script gives a lock
/// back where the server has no command for it.
#[tokio::test]
async fn a_short_script_gives_back_where_the_text_of_scripts_is_checked() {
    let server = RedisServer::start();
    let refuses_publish = |words: Words| {
        let is_refused = match *texts(&words) {
            // A server that has refused a script's text does not know its hash.
            ["EVAL", code, ..] => code.contains("PUBLISH"),
            ["DELIFEQ" | "DELEX", ..] => true,
            _ => false,
        };
        if is_refused { RewritingProxy::error("ERR PUBLISH is not allowed in scripts") } else { words }
    };
    let proxy = RewritingProxy::to(server.port(), refuses_publish).await;
    let locks = LockManager::connect(proxy.url()).await.unwrap();
    for _ in 0..2 {
        let held = locks.lock("order:42").acquire().await.unwrap();
        held.renew().await.unwrap();
        held.release().await.unwrap();
        assert_eq!(server.keys().await, [""; 0]);
        locks.lock("order:42").fenced().acquire().await.unwrap().release().await.unwrap();
        assert!(!server.has("lock:order:42").await);
        server.command::<()>(&["FLUSHALL"]).await;
    }
}

/// The rules change while the lock is held.
#[tokio::test]
async fn a_lock_is_given_back_after_scripts_were_forbidden() {
    let server = RedisServer::start();
    let scripts_work = Arc::new(AtomicUsize::new(1));
    let are_allowed = Arc::clone(&scripts_work);
    let rewrite = move |words: Words| match *texts(&words) {
        ["EVAL" | "EVALSHA", ..] if are_allowed.load(Ordering::Relaxed) == 0 => {
            RewritingProxy::error(FORBIDDEN)
        }
        ["DELIFEQ", ..] => script(DELETE, &words[1..]),
        _ => words,
    };
    let proxy = RewritingProxy::to(server.port(), rewrite).await;
    let locks = LockManager::connect(proxy.url()).await.unwrap();
    locks.lock("order:42").acquire().await.unwrap().release().await.unwrap();
    let held = locks.lock("order:42").acquire().await.unwrap();
    scripts_work.store(0, Ordering::Relaxed);
    held.release().await.unwrap();
    assert_eq!(server.keys().await, [""; 0]);
}
