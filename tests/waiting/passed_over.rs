//! Waiters that a server takes for dead get the key all the same, because they ask by themselves.

use test_support::{RedisServer, eventually, in_time};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{SOON, manager, queue_has, queue_length, scripts};

/// The server tells nobody of a key's change, so that a waiter hears of nothing but hand-overs.
async fn silent_server() -> RedisServer {
    let server = RedisServer::start();
    server.command::<()>(&["ACL", "SETUSER", "default", "-client"]).await;
    server
}

/// Starts three waiters of three processes, each of which takes the key once. Waits until each has asked.
async fn three_waiters(server: &RedisServer, url: String) -> JoinSet<()> {
    let mut waiters = JoinSet::new();
    for _ in 0..3 {
        let locks = manager(url.clone()).await;
        let before = scripts(server).await;
        waiters.spawn(async move { locks.lock("k").wait_forever().run(async {}).await.unwrap() });
        eventually(SOON, || async { scripts(server).await > before }).await;
    }
    waiters
}

/// Makes every entry look as if its waiter had last asked four seconds earlier.
const STEP_THE_CLOCK: &str = "for _, key in ipairs(redis.call('KEYS', 'lock:k*')) do \
     if redis.call('TYPE', key).ok == 'hash' then \
     for _, owner in ipairs(redis.call('HKEYS', key)) do \
     local asked, rest = string.match(redis.call('HGET', key, owner), '^(%d+)( .+)$') \
     if asked then redis.call('HSET', key, owner, string.format('%.0f', asked - 4000000) .. rest) end \
     end end end";

#[tokio::test]
async fn waiters_come_back_after_a_step_of_the_server_s_clock() {
    let server = silent_server().await;
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let waiters = three_waiters(&server, server.url()).await;
    queue_has(&server, 3).await;
    server.command::<()>(&["EVAL", STEP_THE_CLOCK, "0"]).await;
    held.release().await.unwrap();
    in_time(SOON * 2, waiters.join_all()).await;
    assert_eq!(server.keys().await, [""; 0]);
}

/// Starts a proxy whose subscriptions the server does not know of, as if they were made at another node.
/// Returns its URL.
async fn subscribes_elsewhere(server: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { continue };
            let ((mut questions, mut to_client), (mut answers, mut to_server)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut to_client).await });
            tokio::spawn(async move {
                let mut question = vec![0; 64 * 1024];
                while let Ok(bytes @ 1..) = questions.read(&mut question).await {
                    let question = subscribed_elsewhere(&question[..bytes]);
                    if to_server.write_all(&question).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!("redis://{address}/")
}

/// Renames the channel in a command that subscribes: `*2\r\n$9\r\nSUBSCRIBE\r\n$41\r\nthe channel\r\n`.
fn subscribed_elsewhere(question: &[u8]) -> Vec<u8> {
    const SUBSCRIBE: &[u8] = b"SUBSCRIBE\r\n";
    let mut question = question.to_vec();
    let command = question.windows(SUBSCRIBE.len()).position(|bytes| bytes == SUBSCRIBE);
    if let Some(channel) = command.map(|at| at + SUBSCRIBE.len()) {
        let line_end = |from: usize| from + question[from..].iter().position(|byte| *byte == b'\r').unwrap();
        let end = line_end(line_end(channel) + 2);
        question[end - 1] = b'x';
    }
    question
}

#[tokio::test]
async fn waiters_get_the_key_behind_a_proxy_that_subscribes_on_another_node() {
    let server = silent_server().await;
    let url = subscribes_elsewhere(server.port()).await;
    let held = manager(server.url()).await.lock("k").acquire().await.unwrap();
    let waiters = three_waiters(&server, url).await;
    let told = server.calls(&["publish"]).await;
    held.release().await.unwrap();
    assert_eq!(queue_length(&server).await, 0, "the server takes them for dead");
    in_time(SOON * 2, waiters.join_all()).await;
    assert_eq!(server.calls(&["publish"]).await, told);
}
