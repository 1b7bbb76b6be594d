//! Fencing tokens rise from hand-over to hand-over, whatever has happened to the counter.

use distlock::FencingToken;
use test_support::RedisServer;

use crate::{SOON, gets, manager, queue_has, wait_for};

#[tokio::test]
async fn a_token_of_a_hand_over_is_above_the_one_before_even_if_the_counter_was_lost() {
    let server = RedisServer::start();
    let (holder, elsewhere) = (manager(server.url()).await, manager(server.url()).await);
    for waiting in [&holder, &elsewhere] {
        for planted in [None, Some(5), Some(1 << 52)] {
            let held = holder.lock("k").fenced().wait(SOON).acquire().await.unwrap();
            let before = held.fencing_token().unwrap();
            let waiter = wait_for(waiting.lock("k").fenced());
            queue_has(&server, 1).await;
            let counter = server.fencing_counter_of("lock:k").await.unwrap();
            match planted {
                None => server.command::<()>(&["DEL", &counter]).await,
                Some(number) => {
                    server.command::<()>(&["SET", &counter, &number.to_string(), "KEEPTTL"]).await;
                }
            }
            held.release().await.unwrap();
            let guard = gets(waiter).await;
            let after = guard.fencing_token().unwrap();
            assert!(after > before, "{after} follows {before}, with the counter at {planted:?}");
            assert!(planted.is_none_or(|number| after > FencingToken::new(number)));
            guard.release().await.unwrap();
            // Else the counter that is ahead of the clock would hide a loss.
            server.command::<()>(&["DEL", &counter]).await;
        }
    }
}
