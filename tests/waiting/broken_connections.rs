//! A waiter whose connection breaks is back in the wait queue at once.

use std::time::Duration;

use test_support::{Proxy, RedisServer, eventually, in_time};
use tokio::time::sleep;

use crate::{SOON, manager, scripts, wait_in_queue};

#[tokio::test]
async fn a_waiter_whose_connection_broke_is_handed_the_key_without_delay() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let waiter = wait_in_queue(&server, &manager(proxy.url()).await, 1).await;
    // Between the sixth question and the seventh is a pause of at least a second.
    eventually(SOON, || async { scripts(&server).await >= 6 }).await;
    proxy.cut();
    sleep(Duration::from_millis(150)).await;
    held.release().await.unwrap();
    let guard = in_time(Duration::from_millis(500), waiter).await.unwrap();
    guard.release().await.unwrap();
}
