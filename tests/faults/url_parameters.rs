//! Every parameter of a URL works, or is refused with the scheme that it means nothing with.

use std::{fs, time::Duration};

use distlock::{LockError, LockManager};
use test_support::RedisServer;

/// All URLs, without parameters.
const URLS: &[&str] = &[
    "redis://h",
    "valkey://h",
    "rediss://h",
    "valkeys://h",
    "unix:///run/redis.sock",
    "redis+unix:///run/redis.sock",
    "redis-cluster://h1,h2",
    "rediss-cluster://h1,h2",
    "redlock://h1,h2,h3",
    "redlocks://h1,h2,h3",
    "redis-sentinel://h1,h2,h3/orders",
    "rediss-sentinel://h1,h2,h3/orders",
    "memory://",
];

/// All parameters with a value, and the schemes that they are for: those whose names contain the word, or all
/// with or without servers.
const PARAMETERS: &[(&str, &str, &[&str])] = &[
    ("namespace", "shop", ALL),
    ("ttl", "7s", ALL),
    ("response_timeout", "7s", ALL),
    ("owner", "pod-7", ALL),
    ("connect_timeout", "7s", SERVERS),
    ("fence_lifetime", "7d", SERVERS),
    ("restart_delay", "70s", &["redlock"]),
    ("failover_delay", "70s", ONE_AT_A_TIME),
    ("replicas", "1", ONE_AT_A_TIME),
    ("db", "7", DATABASES),
    ("user", "app", SERVERS),
    ("pass", "secret", SERVERS),
    ("protocol", "resp3", SERVERS),
    ("sentinel_user", "app", &["sentinel"]),
    ("sentinel_pass", "secret", &["sentinel"]),
    ("sentinel_tls", "no", &["sentinel"]),
];

const ALL: &[&str] = &["://"];
const SERVERS: &[&str] = &["redis", "valkey", "unix", "redlock"];
const ONE_AT_A_TIME: &[&str] = &["redis://", "rediss://", "valkey", "unix", "sentinel"];
const DATABASES: &[&str] = &["redis://", "rediss://", "valkey", "unix", "redlock", "sentinel"];

#[test]
fn the_manual_has_every_parameter() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let (_, table) = page.split_once("| parameter | value | for |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut told: Vec<_> = rows
        .flat_map(|row| row.split('|').nth(1).unwrap().split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect();
    told.sort_unstable();
    let mut known: Vec<_> = PARAMETERS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    known.sort_unstable();
    assert_eq!(told, known);
}

#[test]
fn a_parameter_is_taken_by_the_schemes_that_it_is_for_and_refused_by_all_others() {
    for (name, value, schemes) in PARAMETERS {
        for url in URLS {
            let (scheme, _) = url.split_once("//").unwrap();
            let is_for = schemes.iter().any(|word| scheme.contains(word.trim_end_matches('/')));
            let built = LockManager::builder().url(format!("{url}?{name}={value}")).build();
            match built {
                Ok(_) => assert!(is_for, "{name} {scheme}"),
                Err(LockError::Config { reason, .. }) => {
                    assert!(!is_for, "{name} {scheme}: {reason}");
                    assert!(reason.contains(&format!("`{name}` means nothing with `{scheme}")), "{reason}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A setting of the builder that differs is refused, which shows what the parameter sets.
#[test]
fn each_setting_of_a_url_is_the_builders_setting_of_the_same_name() {
    let hour = Duration::from_secs(3600);
    let day = 24 * hour;
    for (url, name, builder) in [
        ("redis://h?namespace=shop", "namespace", LockManager::builder().namespace("other")),
        ("redis://h?ttl=7s", "ttl", LockManager::builder().ttl(hour)),
        ("redis://h?response_timeout=7s", "response_timeout", LockManager::builder().response_timeout(hour)),
        ("redis://h?connect_timeout=7s", "connect_timeout", LockManager::builder().connect_timeout(hour)),
        ("redis://h?fence_lifetime=7d", "fence_lifetime", LockManager::builder().fence_lifetime(day)),
        ("redis://h?owner=pod-7", "owner", LockManager::builder().owner("pod-8")),
        ("redis://h?failover_delay=70s", "failover_delay", LockManager::builder().failover_delay(hour)),
        ("redis://h?replicas=1", "replicas", LockManager::builder().replicas(2)),
        ("redlock://a,b,c?restart_delay=70s", "restart_delay", LockManager::builder().restart_delay(hour)),
    ] {
        let error = builder.url(url).build().unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")) && error.contains("by the builder"), "{name}: {error}");
    }
}

#[tokio::test]
async fn the_protocol_is_that_of_the_connection_for_commands() {
    let server = RedisServer::start();
    for (parameter, version) in [("", "2"), ("?protocol=resp2", "2"), ("?protocol=resp3", "3")] {
        let locks = LockManager::connect(format!("{}{parameter}", server.url())).await.unwrap();
        let _held = locks.lock("order:42").acquire().await.unwrap();
        let clients: String = server.command(&["CLIENT", "LIST"]).await;
        let of_locks = clients.lines().find(|client| client.contains("cmd=set")).unwrap();
        // Servers before Redis 7.2 do not tell it.
        if of_locks.contains(" resp=") {
            assert!(of_locks.contains(&format!(" resp={version}")), "{of_locks}");
        }
        server.command::<()>(&["FLUSHALL"]).await;
    }
}
