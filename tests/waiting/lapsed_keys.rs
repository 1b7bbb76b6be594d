//! A key that lapses or is deleted goes to the waiter that came first, whichever waiter notices.

use test_support::{Proxy, RedisServer};

use crate::{gets, manager, wait_in_queue};

#[tokio::test]
async fn a_key_that_became_free_goes_to_the_first_waiter_even_if_another_asks() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let (first, second) = (manager(proxy.url()).await, manager(server.url()).await);
    for lapses in [false, true] {
        let ttl = if lapses { "1000" } else { "600000" };
        server.command::<()>(&["SET", "lock:k", "theirs", "PX", ttl]).await;
        let first = wait_in_queue(&server, &first, 1).await;
        let second = wait_in_queue(&server, &second, 2).await;
        // From now on the first waiter can receive, and cannot ask.
        proxy.let_requests_flow(false);
        if !lapses {
            server.command::<u8>(&["DEL", "lock:k"]).await;
        }
        let guard = gets(first).await;
        assert!(guard.is_held() && !second.is_finished());
        proxy.let_requests_flow(true);
        guard.release().await.unwrap();
        gets(second).await.release().await.unwrap();
    }
}
