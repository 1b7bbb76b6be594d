//! A server of a cluster that refuses a command of its wait queues, for a while.

use std::time::Duration;

use test_support::{RedisServer, eventually, in_time};
use tokio::time::sleep;

use super::{MINUTE, SOON, connect, own};

/// Only the keys of that server are polled for, and not for good.
#[tokio::test]
async fn wait_queues_are_used_again_some_time_after_a_refusal() {
    let cluster = own().await;
    let (name, elsewhere) = (cluster.name_at("here-", 0).await, cluster.name_at("there-", 1).await);
    let (holder, waiting) = (connect(&cluster).await, connect(&cluster).await);
    let [here, there] = [0, 1].map(|at| &cluster.servers()[at]);
    here.command::<()>(&["ACL", "SETUSER", "default", "-subscribe"]).await;
    let held =
        [holder.lock(&name).acquire().await.unwrap(), holder.lock(&elsewhere).acquire().await.unwrap()];
    let waiters = [&name, &elsewhere].map(|name| tokio::spawn(waiting.lock(name).wait(MINUTE).acquire()));
    let has_queue = async |server: &RedisServer, name: &str| {
        server.wait_queue_of(&format!("lock:{name}")).await.is_some()
    };
    eventually(SOON, async || has_queue(there, &elsewhere).await).await;
    sleep(Duration::from_millis(300)).await;
    assert!(!has_queue(here, &name).await, "the waiter polls");
    here.command::<()>(&["ACL", "SETUSER", "default", "+subscribe"]).await;
    eventually(SOON, async || has_queue(here, &name).await).await;
    for held in held {
        held.release().await.unwrap();
    }
    for waiter in waiters {
        in_time(SOON, waiter).await.unwrap().unwrap().release().await.unwrap();
    }
}
