//! A user name and a password that change while locks are held and waited for.

use std::pin::Pin;

use distlock::LockManager;
use futures_util::{Stream, stream};
use redis::{BasicAuth, RedisResult, StreamingCredentialsProvider};
use test_support::{RedisServer, eventually, in_time};
use tokio::sync::watch;

use crate::{SOON, key_is_handed_over, wait_in_queue};

/// Gives the current user, whose password is the same word, and each later one.
#[derive(Clone)]
struct Rotating(watch::Receiver<&'static str>);

impl StreamingCredentialsProvider for Rotating {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let mut users = self.0.clone();
        users.mark_changed();
        Box::pin(stream::unfold(users, async |mut users| {
            users.changed().await.ok()?;
            let user = users.borrow_and_update().to_string();
            Some((Ok(BasicAuth::new(user.clone(), user)), users))
        }))
    }
}

async fn add_user(server: &RedisServer, user: &str) {
    let password = format!(">{user}");
    server.command::<()>(&["ACL", "SETUSER", user, "on", &password, "~*", "&*", "+@all"]).await;
}

#[tokio::test]
async fn locks_and_waiters_outlast_the_user_that_they_began_with() {
    let server = RedisServer::start();
    add_user(&server, "first").await;
    let (users, current) = watch::channel("first");
    let connect = || async {
        let url = server.url().replace("redis://", "redis://nobody@");
        LockManager::builder().url(url).credentials(Rotating(current.clone())).connect().await.unwrap()
    };
    let (one, other) = (connect().await, connect().await);
    let held = one.lock("k").acquire().await.unwrap();
    let waiter = wait_in_queue(&server, &other).await;
    add_user(&server, "second").await;
    users.send("second").unwrap();
    eventually(SOON, async || {
        let clients: String = server.command(&["CLIENT", "LIST"]).await;
        !clients.contains("user=first") && clients.contains("user=second")
    })
    .await;
    // That closes all connections of the user.
    server.command::<()>(&["ACL", "DELUSER", "first"]).await;
    held.release().await.unwrap();
    in_time(SOON, waiter).await.unwrap().release().await.unwrap();
    // Later connections begin with the new user.
    server.command::<u32>(&["CLIENT", "KILL", "USER", "second"]).await;
    key_is_handed_over(&server, &one, &other).await;
}
