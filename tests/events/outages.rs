//! An outage is reported once for each server, and so is its end.

use std::time::Duration;

use distlock::LockManager;
use test_support::{RedisServer, eventually};
use tokio::time::sleep;
use tracing::Level;

use crate::{SOON, recorder::Recorder, run};

const DOWN: &str = "the server does not answer";
const UP: &str = "the server answers again";

#[test]
fn an_outage_is_reported_once_with_the_address_and_without_credentials() {
    let (recorder, _guard) = Recorder::start();
    let mut server = RedisServer::start();
    run(async {
        server.command::<()>(&["ACL", "SETUSER", "app", "on", ">hunter2", "~*", "&*", "+@all"]).await;
        let url = server.url().replace("redis://", "redis://app:hunter2@");
        let locks = LockManager::connect(url).await.unwrap();
        let guard = locks.lock("held").ttl(Duration::from_secs(1)).acquire().await.unwrap();
        server.stop();
        for _ in 0..3 {
            locks.lock("k").acquire().await.unwrap_err();
        }
        guard.lost().await;
        assert_eq!(recorder.events(DOWN).len(), 1, "{:?}", recorder.events(DOWN));
        assert_eq!(recorder.events(UP).len(), 0);
        server.restart();
        // The restarted server has forgotten the user.
        server.command::<()>(&["ACL", "SETUSER", "app", "on", ">hunter2", "~*", "&*", "+@all"]).await;
        for _ in 0..3 {
            locks.lock("k").acquire().await.unwrap().release().await.unwrap();
        }
    });
    let [down] = &recorder.events(DOWN)[..] else { panic!("one event") };
    assert_eq!(down.level, Level::WARN);
    assert_eq!(down.field("server"), format!("127.0.0.1:{}", server.port()));
    assert!(!down.field("error").is_empty());
    let [up] = &recorder.events(UP)[..] else { panic!("one event") };
    assert_eq!((up.level, up.field("server")), (Level::INFO, down.field("server")));
    let all = format!("{:?}", recorder.take());
    assert!(!all.contains("hunter2"), "{all}");
}

#[test]
fn the_next_outage_is_reported_again() {
    let (recorder, _guard) = Recorder::start();
    let server = RedisServer::start();
    run(async {
        let builder = LockManager::builder().url(server.url()).response_timeout(Duration::from_millis(100));
        let locks = builder.connect().await.unwrap();
        for outages in 1..=2 {
            server.pause();
            for _ in 0..2 {
                locks.lock("k").acquire().await.unwrap_err();
            }
            server.resume();
            eventually(SOON, async || locks.lock("other").acquire().await.is_ok()).await;
            assert_eq!((recorder.events(DOWN).len(), recorder.events(UP).len()), (outages, outages));
        }
    });
}

#[test]
fn a_connection_that_the_server_closes_is_no_outage() {
    let (recorder, _guard) = Recorder::start();
    let server = RedisServer::start();
    run(async {
        let locks = LockManager::connect(server.url()).await.unwrap();
        for _ in 0..3 {
            locks.lock("k").acquire().await.unwrap().release().await.unwrap();
            server.command::<u8>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        }
    });
    assert!(!recorder.has(DOWN), "{:?}", recorder.events(DOWN));
}

#[test]
fn a_node_of_a_quorum_is_reported_by_the_quorum_alone() {
    let (recorder, _guard) = Recorder::start();
    let mut servers = [(); 3].map(|()| RedisServer::start());
    run(async {
        let hosts: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        let url = format!("redlock://{}", hosts.join(","));
        let locks = LockManager::builder().url(url).restart_delay(Duration::ZERO).connect().await.unwrap();
        servers[0].stop();
        for _ in 0..3 {
            locks.lock("k").acquire().await.unwrap().release().await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        servers[0].restart();
        eventually(SOON, async || recorder.has("the node of the quorum answers again")).await;
    });
    let down = recorder.events("a node of the quorum does not answer; skipping it");
    assert_eq!(down.len(), 1, "{down:?}");
    assert!(!recorder.has(DOWN), "{:?}", recorder.events(DOWN));
}
