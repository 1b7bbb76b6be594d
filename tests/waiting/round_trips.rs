//! How many round trips a call takes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use test_support::RedisServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use crate::{SECOND, SOON, manager, queue_has, wait_in_queue};

/// How long each answer of the server is delayed: longer than a client takes to send what goes together.
const DELAY: Duration = Duration::from_millis(30);

/// A proxy to a server that counts round trips, all connections together.
struct RoundTrips {
    port: u16,
    count: Arc<AtomicU32>,
}

impl RoundTrips {
    async fn to(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, count) = (listener.local_addr().unwrap().port(), Arc::<AtomicU32>::default());
        let (server, counted) = (server.port(), Arc::clone(&count));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&counted)));
            }
        });
        Self { port, count }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Waits until the last round trip has ended, and counts from 0 again.
    async fn reset(&self) {
        sleep(DELAY * 3).await;
        self.count.store(0, Ordering::SeqCst);
    }

    /// How many round trips have begun.
    fn count(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }
}

/// Passes requests and answers on. A request that comes after an answer begins a round trip.
async fn pass(client: TcpStream, server: TcpStream, count: Arc<AtomicU32>) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let answered = Arc::new(AtomicBool::new(true));
    let is_answered = Arc::clone(&answered);
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_536];
        while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
            count.fetch_add(u32::from(is_answered.swap(false, Ordering::SeqCst)), Ordering::SeqCst);
            if to_server.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    });
    let mut bytes = vec![0; 65_536];
    while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
        sleep(DELAY).await;
        answered.store(true, Ordering::SeqCst);
        if to_client.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_miss_on_a_key_that_was_held_lately_takes_one_round_trip() {
    let server = RedisServer::start();
    let trips = RoundTrips::to(&server).await;
    let (locks, rival) = (manager(trips.url()).await, manager(server.url()).await);
    locks.lock("free").acquire().await.unwrap().release().await.unwrap();
    let held = rival.lock("k").ttl(SECOND * 20).acquire().await.unwrap();
    let misses = async || {
        trips.reset().await;
        let busy = locks.lock("k").acquire().await.unwrap_err();
        let distlock::LockError::Busy { remaining: Some(remaining), .. } = busy else { panic!("{busy:?}") };
        assert!((SECOND * 15..=SECOND * 20).contains(&remaining), "{remaining:?}");
        trips.count()
    };
    assert_eq!(misses().await, 2, "the first miss");
    assert_eq!(misses().await, 1, "a later miss");
    held.release().await.unwrap();
    trips.reset().await;
    let guard = locks.lock("k").acquire().await.unwrap();
    assert_eq!(trips.count(), 1, "a grant");
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_lone_waiter_for_a_key_that_was_held_lately_is_enqueued_in_one_round_trip() {
    let server = RedisServer::start();
    let trips = RoundTrips::to(&server).await;
    let (locks, rival) = (manager(trips.url()).await, manager(server.url()).await);
    let held = rival.lock("k").acquire().await.unwrap();
    wait_in_queue(&server, &locks, 1).await.abort();
    queue_has(&server, 0).await;
    trips.reset().await;
    let waiter = wait_in_queue(&server, &locks, 1).await;
    assert_eq!(trips.count(), 1);
    held.release().await.unwrap();
    waiter.await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn the_first_fenced_grant_of_a_process_takes_one_round_trip() {
    let server = RedisServer::start();
    let trips = RoundTrips::to(&server).await;
    let locks = manager(trips.url()).await;
    trips.reset().await;
    let guard = locks.lock("k").fenced().wait(SOON).acquire().await.unwrap();
    assert_eq!(trips.count(), 1);
    guard.release().await.unwrap();
}

#[tokio::test]
async fn the_first_wait_of_a_process_takes_four_round_trips() {
    let server = RedisServer::start();
    let trips = RoundTrips::to(&server).await;
    let (locks, rival) = (manager(trips.url()).await, manager(server.url()).await);
    locks.lock("free").acquire().await.unwrap().release().await.unwrap();
    let held = rival.lock("k").acquire().await.unwrap();
    trips.reset().await;
    let waiter = wait_in_queue(&server, &locks, 1).await;
    // SET NX, then HELLO, then SUBSCRIBE and CLIENT TRACKING, then the script.
    assert_eq!(trips.count(), 4);
    held.release().await.unwrap();
    waiter.await.unwrap().release().await.unwrap();
}
