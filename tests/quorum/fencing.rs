//! Fencing tokens rise, whatever happens to the counters of the nodes.

use std::time::Duration;

use distlock::FencingToken;
use test_support::{RedisServer, eventually};

use crate::SOON;
use crate::{quorum, servers};

/// Acquires in turns with two managers and checks that the tokens rise. `after` is called after each release.
async fn tokens_rise(
    mut servers: [RedisServer; 3],
    mut after: impl AsyncFnMut(usize, &mut [RedisServer; 3]),
) {
    let locks = [quorum(&servers).build().unwrap(), quorum(&servers).build().unwrap()];
    let mut last: Option<FencingToken> = None;
    for step in 0..12 {
        let lock = locks[step % 2].lock("k").wait(Duration::from_secs(5)).fenced();
        let guard = lock.acquire().await.unwrap();
        let token = guard.fencing_token();
        assert!(token > last, "step {step}: {token:?} after {last:?}");
        last = token;
        guard.release().await.unwrap();
        after(step, &mut servers).await;
    }
}

#[tokio::test]
async fn fencing_tokens_rise_while_the_counters_of_the_nodes_differ() {
    let differ = async |step: usize, servers: &mut [RedisServer; 3]| match step {
        // The counter of one node is far ahead: the other nodes must follow.
        1 | 2 | 5 => {
            let server = &servers[step % 3];
            // A minority may be granted later.
            eventually(SOON, || async { server.fencing_counter_of("lock:k").await.is_some() }).await;
            let counter = server.fencing_counter_of("lock:k").await.unwrap();
            server.command::<i64>(&["INCRBY", &counter, "5000000000"]).await;
        }
        4 => servers[0].command::<()>(&["SCRIPT", "FLUSH"]).await,
        8 => servers[0].stop(),
        _ => {}
    };
    tokens_rise(servers(), differ).await;
}

#[tokio::test]
async fn fencing_tokens_rise_while_nodes_lose_their_data() {
    let lose = async |step: usize, servers: &mut [RedisServer; 3]| match step {
        2 | 7 => {
            for server in servers {
                server.command::<()>(&["FLUSHALL"]).await;
            }
        }
        4 | 9 => servers.iter_mut().for_each(RedisServer::restart),
        // The counters expire, as they do two days after the last grant.
        6 => {
            for server in servers {
                if let Some(counter) = server.fencing_counter_of("lock:k").await {
                    server.command::<u8>(&["PEXPIRE", &counter, "0"]).await;
                }
            }
        }
        5 => servers[1].restart(),
        _ => {}
    };
    tokens_rise(servers(), lose).await;
}
