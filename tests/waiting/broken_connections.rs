//! A waiter whose connection breaks is back in the wait queue at once.

use std::time::Duration;

use test_support::{Proxy, RedisServer, eventually, in_time};
use tokio::time::sleep;

use crate::{SOON, manager, queue_has, scripts, wait_in_queue};

#[tokio::test]
async fn a_waiter_whose_connection_broke_is_handed_the_key_without_delay() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let locks = manager(proxy.url()).await;
    // A connection is checked by a script, too.
    let before = scripts(&server).await;
    let waiter = wait_in_queue(&server, &locks, 1).await;
    // From the sixth question on, a pause of at least a second follows each one.
    eventually(SOON, || async { scripts(&server).await >= before + 7 }).await;
    proxy.cut();
    sleep(Duration::from_millis(150)).await;
    held.release().await.unwrap();
    let guard = in_time(Duration::from_millis(500), waiter).await.unwrap();
    guard.release().await.unwrap();
}

/// The queue does not lapse meanwhile, because another waiter asks.
#[tokio::test]
async fn a_waiter_with_a_short_ttl_leaves_the_queue_after_a_longer_outage() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let others = manager(server.url()).await;
    let _held = others.lock("k").acquire().await.unwrap();
    let _other = tokio::spawn(others.lock("k").wait_forever().acquire());
    queue_has(&server, 1).await;
    let locks = manager(proxy.url()).await;
    let request = locks.lock("k").ttl(Duration::from_millis(100));
    let waiter = tokio::spawn(request.wait(Duration::from_millis(600)).acquire());
    queue_has(&server, 2).await;
    proxy.let_replies_flow(false);
    proxy.cut();
    assert!(waiter.await.unwrap().is_err());
    sleep(Duration::from_millis(1500)).await;
    proxy.let_replies_flow(true);
    queue_has(&server, 1).await;
}
