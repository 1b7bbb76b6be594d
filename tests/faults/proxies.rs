//! Proxies that hang up on a command that they do not know, in place of refusing it.

use std::time::Duration;

use distlock::LockManager;
use test_support::{RedisServer, in_time};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::{SOON, works};

/// Starts a proxy that closes a connection over which one of the words is sent. Returns its URL.
async fn hangs_up_on(words: &'static [&'static str], server: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass(client, words, server));
        }
    });
    format!("redis://{address}/")
}

async fn pass(mut client: TcpStream, words: &[&str], server: u16) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (mut questions, mut answers) = ([0; 8192], [0; 8192]);
    loop {
        let passed = tokio::select! {
            read = client.read(&mut questions) => match read {
                Ok(bytes @ 1..) => {
                    let text = String::from_utf8_lossy(&questions[..bytes]);
                    if words.iter().any(|word| text.contains(&format!("\r\n{word}\r\n"))) {
                        return;
                    }
                    server.write_all(&questions[..bytes]).await
                }
                _ => return,
            },
            read = server.read(&mut answers) => match read {
                Ok(bytes @ 1..) => client.write_all(&answers[..bytes]).await,
                _ => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn waiters_poll_behind_a_proxy_that_hangs_up_on_a_command_of_theirs() {
    for words in [&["HELLO"][..], &["SUBSCRIBE"], &["CLIENT"], &["TRACKING"], &["HELLO", "CLIENT"]] {
        let server = RedisServer::start();
        let url = hangs_up_on(words, server.port()).await;
        let locks = LockManager::connect(&url).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        works(&locks).await;
        let elsewhere = LockManager::connect(&url).await.unwrap();
        let held = elsewhere.lock("k").acquire().await.unwrap();
        let waiter = tokio::spawn(locks.lock("k").wait(SOON).acquire());
        sleep(Duration::from_millis(200)).await;
        held.release().await.unwrap();
        let waited = in_time(SOON, waiter).await.unwrap();
        waited.unwrap_or_else(|error| panic!("{words:?}: {error}")).release().await.unwrap();
    }
}
