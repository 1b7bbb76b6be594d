//! What weakens a promise is logged once, with the setting that lifts it, and a diagnosis tells all that is
//! known of the servers.

use std::time::Duration;

use distlock::{CheckState, CheckSubject, Diagnosis, LockManager};
use test_support::{RedisServer, eventually, free_port};
use tracing::subscriber::set_default;

use crate::{SOON, lazy, warnings::Warnings, works};

/// What a manager warns of when it connects to the server, which is all that it ever does.
async fn warnings(server: &RedisServer) -> Vec<String> {
    let log = Warnings::default();
    let _guard = set_default(log.clone());
    // A clean-up of an earlier manager may find its server gone, and warn of that.
    let address = format!("127.0.0.1:{}", server.port());
    let take = || {
        let mut texts = log.take();
        texts.retain(|text| text.contains(&address));
        texts
    };
    let locks = LockManager::connect(server.url()).await.unwrap();
    let texts = take();
    works(&locks).await;
    server.command::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    eventually(SOON, async || locks.lock("k").acquire().await.is_ok()).await;
    let _ = locks.diagnose().await;
    assert_eq!(take(), [""; 0], "once is enough");
    // The first lock of a manager that has not connected warns of the same.
    works(&lazy(&server.url())).await;
    assert_eq!(take(), texts);
    texts
}

/// Keeps its leases.
const DURABLE: [&str; 2] = ["--appendonly", "yes"];

#[tokio::test]
async fn a_server_that_is_set_up_well_gets_no_warning() {
    assert_eq!(warnings(&RedisServer::start_with(&DURABLE)).await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_keeps_nothing_over_a_restart_is_warned_of() {
    let texts = warnings(&RedisServer::start()).await;
    assert!(texts.len() == 1 && texts[0].contains("`appendonly yes`"), "{texts:?}");
    let snapshots = RedisServer::start_with(&["--save", "3600", "1"]);
    assert_eq!(warnings(&snapshots).await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_may_evict_leases_is_warned_of() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let setting = ["--maxmemory", "100mb", "--maxmemory-policy", policy];
        let texts = warnings(&RedisServer::start_with(&[&DURABLE[..], &setting].concat())).await;
        assert!(texts.len() == 1 && texts[0].contains(policy), "{texts:?}");
        assert!(texts[0].contains("`maxmemory-policy noeviction`"), "{texts:?}");
    }
    let unlimited = RedisServer::start_with(&[&DURABLE[..], &["--maxmemory-policy", "allkeys-lru"]].concat());
    assert_eq!(warnings(&unlimited).await, [""; 0]);
}

#[tokio::test]
async fn a_server_that_grants_without_its_replicas_is_warned_of() {
    let primary = RedisServer::start_with(&[&DURABLE[..], &["--repl-diskless-sync-delay", "0"]].concat());
    let _replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    eventually(Duration::from_secs(10), async || {
        let info: String = primary.command(&["INFO", "replication"]).await;
        info.contains("connected_slaves:1")
    })
    .await;
    let texts = warnings(&primary).await;
    assert!(texts.len() == 1 && texts[0].contains("`min-replicas-to-write 1`"), "{texts:?}");
    eventually(Duration::from_secs(10), async || {
        primary.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
        let info: String = primary.command(&["INFO", "replication"]).await;
        info.contains("min_slaves_good_slaves:1")
    })
    .await;
    assert_eq!(warnings(&primary).await, [""; 0]);
}

#[tokio::test]
async fn what_waiters_and_fencing_tokens_lack_is_warned_of() {
    for (missing, texts) in [
        ("-publish", &["PUBLISH", "poll", "`+publish`"][..]),
        ("-time", &["TIME", "`fenced`", "`+time`"]),
        ("resetchannels", &["poll", "`&lock:*`"]),
    ] {
        let server = RedisServer::start_with(&DURABLE);
        server.command::<()>(&["ACL", "SETUSER", "default", missing]).await;
        let log = Warnings::default();
        let _guard = set_default(log.clone());
        works(&LockManager::connect(server.url()).await.unwrap()).await;
        let logged = log.take().concat();
        assert!(texts.iter().all(|text| logged.contains(text)), "{missing}: {logged}");
    }
    let server = RedisServer::start_with(&[&DURABLE[..], &["--rename-command", "HELLO", "\"\""]].concat());
    let texts = warnings(&server).await;
    assert!(texts.len() == 1 && texts[0].contains("HELLO") && texts[0].contains("poll"), "{texts:?}");
}

fn state(diagnosis: &Diagnosis, subject: CheckSubject) -> CheckState {
    diagnosis.servers[0].check(subject).expect("it was checked").state
}

#[tokio::test]
async fn a_diagnosis_leaves_open_what_the_server_does_not_tell() {
    use CheckSubject::{Commands, Eviction, Fencing, Kind, Persistence, Replication, Role, Version, Waiters};
    let server = RedisServer::start();
    for rule in ["-info", "-config", "-role"] {
        server.command::<()>(&["ACL", "SETUSER", "default", rule]).await;
    }
    let log = Warnings::default();
    let _guard = set_default(log.clone());
    let diagnosis = LockManager::connect(server.url()).await.unwrap().diagnose().await;
    assert_eq!(log.take(), [""; 0]);
    for subject in [Kind, Version, Role, Eviction, Persistence, Replication] {
        assert_eq!(state(&diagnosis, subject), CheckState::Unknown, "{subject:?}");
    }
    for subject in [Commands, Fencing, Waiters] {
        assert_eq!(state(&diagnosis, subject), CheckState::Ok, "{subject:?}");
    }
    assert_eq!(diagnosis.worst(), Some(CheckState::Unknown));
}

#[tokio::test]
async fn a_diagnosis_tells_what_connect_would_refuse() {
    let server = RedisServer::start();
    server.command::<()>(&["ACL", "SETUSER", "default", "-eval", "-get"]).await;
    let locks = lazy(&server.url());
    let diagnosis = locks.diagnose().await;
    assert_eq!(state(&diagnosis, CheckSubject::Commands), CheckState::Broken);
    assert_eq!(diagnosis.worst(), Some(CheckState::Broken));
    let shown = diagnosis.to_string();
    let name = format!("127.0.0.1:{}", server.port());
    assert!(shown.contains(&format!("{name}: broken: ")) && shown.contains("EVAL"), "{shown}");

    let nobody = lazy(&format!("redis://127.0.0.1:{}/", free_port())).diagnose().await;
    assert_eq!(state(&nobody, CheckSubject::Reachable), CheckState::Broken);
    assert_eq!(LockManager::in_memory().diagnose().await.worst(), None);
}

#[tokio::test]
async fn a_diagnosis_of_a_quorum_compares_the_clocks_of_its_nodes() {
    let servers = [(); 3].map(|()| RedisServer::start());
    let hosts = servers.each_ref().map(|server| format!("127.0.0.1:{}", server.port()));
    let locks = LockManager::builder().url(format!("redlock://{}", hosts.join(","))).build().unwrap();
    let diagnosis = locks.diagnose().await;
    assert_eq!(diagnosis.servers.iter().map(|server| server.name.clone()).collect::<Vec<_>>(), hosts);
    // One machine has one clock.
    for server in &diagnosis.servers {
        let clock = server.clock.expect("TIME is allowed");
        let error = i64::try_from(clock.uncertainty.as_micros()).unwrap() + 1_000;
        assert!(clock.ahead_us.abs() <= error, "{clock:?}");
    }
    assert!(diagnosis.clock_spread().expect("several clocks") < Duration::from_secs(1));
    assert_eq!(diagnosis.worst(), Some(CheckState::Ok), "{diagnosis}");
}
