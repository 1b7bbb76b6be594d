//! A URL says all that it can say, or is refused with what to write instead, and no message shows a password.

use std::time::Duration;

use distlock::{LockError, LockManager, LockManagerBuilder};
use test_support::RedisServer;

fn builder(url: &str) -> LockManagerBuilder {
    LockManager::builder().url(url)
}

/// Returns the message with which the set-up is refused. It never shows a password.
fn refused(builder: LockManagerBuilder) -> String {
    let error = builder.build().unwrap_err();
    assert!(matches!(error, LockError::Config { .. }), "{error}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    error.to_string()
}

#[test]
fn a_url_without_a_scheme_is_refused_without_its_password() {
    for url in ["user:hunter2@localhost", "redis:user:hunter2@localhost", "//user:hunter2@localhost/"] {
        let message = refused(builder(url));
        assert!(message.contains("redis://"), "{message}");
    }
}

#[test]
fn an_unknown_scheme_is_refused_with_all_that_are_known() {
    let message = refused(builder("http://localhost"));
    for scheme in [
        "redis://",
        "rediss://",
        "valkey://",
        "valkeys://",
        "unix://",
        "redis+unix://",
        "redlock://",
        "redlocks://",
        "redis-sentinel://",
        "rediss-sentinel://",
        "memory://",
    ] {
        assert!(message.contains(scheme), "{scheme} {message}");
    }
}

#[cfg(not(feature = "sentinel"))]
#[test]
fn a_scheme_of_sentinels_names_the_feature() {
    let message = refused(builder("redis-sentinel://user:hunter2@h1,h2/orders"));
    assert!(message.contains("`redis-sentinel://` needs the feature `sentinel`"), "{message}");
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_scheme_with_tls_names_the_feature() {
    for scheme in ["rediss", "valkeys", "redlocks", "rediss-sentinel"] {
        let message = refused(builder(&format!("{scheme}://localhost")));
        assert!(message.contains(&format!("`{scheme}://` needs the feature `tls`")), "{message}");
    }
}

#[cfg(not(feature = "cluster"))]
#[test]
fn a_scheme_of_a_cluster_names_the_feature() {
    for scheme in ["redis-cluster", "rediss-cluster"] {
        let message = refused(builder(&format!("{scheme}://user:hunter2@h1,h2")));
        assert!(message.contains(&format!("`{scheme}://` needs the feature `cluster`")), "{message}");
    }
}

#[cfg(feature = "cluster")]
#[test]
fn every_form_of_a_clusters_url_is_accepted() {
    for url in
        ["redis-cluster://h1", "redis-cluster://user:p%40ss@h1:7000,h2,[::1]:7002/0?protocol=resp3&ttl=5s"]
    {
        assert!(builder(url).build().is_ok(), "{url}");
    }
}

#[test]
fn every_form_of_a_url_is_accepted() {
    for url in [
        "redis://localhost",
        "redis://user:p%40ss@localhost:6380/3",
        "redis://[::1]:6380/",
        "redis://localhost?db=3&user=app&pass=secret&protocol=resp3",
        "redis://localhost/?ttl=30&response_timeout=500ms&connect_timeout=1m30s&fence_lifetime=3d",
        "redis://localhost?ttl=1m%2030s",
        "redis://localhost?ttl=1m+30s",
        "valkey://localhost",
        "unix:///run/redis.sock",
        "redis+unix:///run/redis.sock?db=1&pass=secret&ttl=5s",
        "redlock://h1,h2:6380,[::1]/2?restart_delay=2min&ttl=90",
        "redlock://user:pass@h1,h2,h3?namespace=shop",
        "memory://?ttl=5s&namespace=shop&response_timeout=2s",
    ] {
        builder(url).build().unwrap_or_else(|error| panic!("{url}: {error}"));
    }
}

#[test]
fn an_unknown_parameter_is_refused_with_the_one_that_was_meant() {
    for (written, meant) in [
        ("naemspace=shop", "namespace"),
        ("prefix=shop", "namespace"),
        ("TTL=5", "ttl"),
        ("expire=5", "ttl"),
        ("timeout=5", "response_timeout"),
        ("connection_timeout=5", "connect_timeout"),
        ("password=hunter2", "pass"),
        ("username=app", "user"),
        ("database=2", "db"),
    ] {
        for url in ["redis://localhost?", "redlock://h1,h2,h3/?", "unix:///run/redis.sock?"] {
            let message = refused(builder(&format!("{url}{written}")));
            assert!(message.contains(&format!("did you mean `{meant}`?")), "{message}");
        }
    }
    let message = refused(builder("redis://localhost?colour=red"));
    assert!(message.contains("`colour`") && message.contains("`connect_timeout`"), "{message}");
}

#[test]
fn a_parameter_that_means_nothing_there_is_refused() {
    for (url, name) in [
        ("redis://localhost?restart_delay=5s", "restart_delay"),
        ("memory://?connect_timeout=5s", "connect_timeout"),
        ("memory://?pass=hunter2", "pass"),
    ] {
        let message = refused(builder(url));
        assert!(message.contains(&format!("`{name}` means nothing")), "{message}");
    }
}

#[test]
fn a_value_that_is_not_understood_is_refused_with_its_forms() {
    for (parameter, told) in [
        ("ttl=5x", "`ttl`"),
        ("ttl=", "`ttl`"),
        ("ttl", "`ttl`"),
        ("ttl=1.5s", "fraction"),
        ("ttl=-1", "`ttl`"),
        ("ttl=99999999999999999999", "`ttl`"),
        ("ttl=1ms", "10ms"),
        ("response_timeout=0", "response_timeout is zero"),
        ("fence_lifetime=1h", "1 to 366 days"),
        ("namespace={}", "empty braces"),
        ("namespace=%zz", "%25"),
        ("namespace=%ff", "UTF-8"),
        ("protocol=4", "`protocol=resp3`"),
        ("db=one", "`db`"),
        ("ttl=5&ttl=6", "twice"),
    ] {
        let message = refused(builder(&format!("redis://localhost?{parameter}")));
        assert!(message.contains(told), "{parameter}: {message}");
    }
}

#[test]
fn what_stands_in_two_places_of_a_url_is_refused() {
    for url in [
        "redis://localhost/1?db=2",
        "redis://app@localhost?user=app",
        "redis://:hunter2@localhost?pass=hunter2",
        "redlock://h1,h2,h3/1?db=1",
    ] {
        let message = refused(builder(url));
        assert!(message.contains("twice"), "{url}: {message}");
    }
}

#[test]
fn no_part_of_a_password_is_shown_that_ends_the_host_or_a_parameter() {
    for url in [
        "redis://:a?hunter2@localhost",
        "redis://:a?hunter2=1@localhost",
        "redis://:a/hunter2@localhost",
        "redis://:a#hunter2@localhost",
        "redlock://app:a?hunter2@h1,h2,h3",
        "redlock://app:a/hunter2@h1,h2,h3",
        "redlock://app:hunter2@h1,other:hunter2@h2",
    ] {
        let message = refused(builder(url));
        assert!(message.contains("%40") || message.contains("%23"), "{url}: {message}");
    }
    let message = refused(builder("unix:///run/redis.sock?pass=a&hunter2=b"));
    assert!(message.contains("is not known") && message.contains("`namespace`"), "{message}");
}

#[test]
fn a_setting_of_the_builder_that_differs_from_the_urls_is_refused() {
    let second = Duration::from_secs(1);
    let both = |builder: LockManagerBuilder| refused(builder.url("redis://h?ttl=5s&namespace=a"));
    let message = both(LockManager::builder().ttl(second));
    assert!(message.contains("`ttl` is 5s in the URL, and 1s by the builder"), "{message}");
    let message = both(LockManager::builder().namespace("b"));
    assert!(message.contains("`namespace`"), "{message}");
    // The same in both places is no conflict.
    LockManager::builder().url("redis://h?ttl=5s").ttl(5 * second).build().unwrap();
}

#[test]
fn a_path_to_a_socket_is_absolute() {
    for url in ["unix://", "unix://redis.sock", "redis+unix://run/redis.sock"] {
        let message = refused(builder(url));
        assert!(message.contains("unix:///"), "{url}: {message}");
    }
}

#[tokio::test]
async fn a_urls_parameters_are_settings_of_the_manager() {
    let server = RedisServer::start();
    let url = format!("{}?namespace=shop&ttl=5s&db=3", server.url());
    let locks = LockManager::connect(url).await.unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    assert!(guard.remaining() <= Duration::from_secs(5), "{:?}", guard.remaining());
    let databases: String = server.command(&["INFO", "keyspace"]).await;
    assert!(databases.contains("db3:keys=1"), "{databases}");
    let others = LockManager::connect(format!("{}3?namespace=shop", server.url())).await.unwrap();
    assert!(others.lock("k").try_acquire().await.unwrap().is_none());
    guard.release().await.unwrap();
}

#[tokio::test]
async fn credentials_may_be_parameters() {
    let server = RedisServer::start_with(&["--user", "app", "on", ">secret", "~*", "&*", "+@all"]);
    let refused = format!("{}?user=app&pass=hunter2", server.url());
    let error = LockManager::connect(refused).await.unwrap_err().to_string();
    assert!(error.contains("user name or password") && !error.contains("hunter2"), "{error}");
    let url = format!("{}?user=app&pass=secret&namespace=a", server.url());
    let locks = LockManager::connect(url).await.unwrap();
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn valkey_is_another_name_for_redis() {
    let server = RedisServer::start();
    let locks = LockManager::connect(server.url().replace("redis://", "valkey://")).await.unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    assert!(server.has("lock:k").await);
    guard.release().await.unwrap();
}
