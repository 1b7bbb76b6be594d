//! A web service that is asked to end, as Kubernetes does it, finishes its requests and leaves no key.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use test_support::{RedisServer, eventually};
use tokio::{task::JoinSet, time::sleep};

use crate::examples::Api;

const CLIENTS: u64 = 16;

/// A request that was sent: when, and the status of its response unless it was cut.
struct Sent {
    at: Instant,
    status: Option<u16>,
}

/// Sends one request after the other, each over a connection of its own, until the service has ended.
async fn send_requests(url: String, over: Arc<AtomicBool>) -> Vec<Sent> {
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let mut requests = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let at = Instant::now();
        let response = client.post(&url).send().await;
        let refused = response.as_ref().is_err_and(reqwest::Error::is_connect);
        if !refused {
            requests.push(Sent { at, status: response.ok().map(|response| response.status().as_u16()) });
        }
        sleep(Duration::from_millis(1)).await;
    }
    requests
}

async fn ends_without_cutting_a_request(name: &str) {
    let server = RedisServer::start();
    let mut api = Api::start(name, &server);
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        // Two for each order, so that some are refused as busy.
        let url = format!("{}/orders/{}/fulfil", api.address, client / 2);
        clients.spawn(send_requests(url, Arc::clone(&over)));
    }
    // Every order is being fulfilled.
    eventually(Duration::from_secs(10), || async { server.keys().await.len() as u64 == CLIENTS / 2 }).await;
    sleep(Duration::from_millis(200)).await;
    let terminated = Instant::now();
    let pid = api.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut status = None;
    eventually(Duration::from_secs(10), || {
        status = api.process.try_wait().unwrap();
        std::future::ready(status.is_some())
    })
    .await;
    over.store(true, Ordering::Relaxed);
    assert!(status.unwrap().success(), "{status:?}");
    assert_eq!(server.keys().await, [""; 0]);
    let requests: Vec<Sent> = clients.join_all().await.into_iter().flatten().collect();
    // The kernel accepts connections of which the service never hears when its socket is closed.
    let accepted = requests.iter().filter(|sent| sent.at + Duration::from_millis(100) < terminated);
    let statuses: Vec<_> = accepted.map(|sent| sent.status).collect();
    assert!(statuses.iter().all(|status| matches!(status, Some(200 | 409))), "{statuses:?}");
    let under_way = requests.iter().filter(|sent| sent.at < terminated && sent.status == Some(200)).count();
    assert!(under_way >= 8, "{under_way}");
}

#[tokio::test]
async fn axum_orders_ends_without_cutting_a_request() {
    ends_without_cutting_a_request("axum_orders").await;
}

#[tokio::test]
async fn actix_orders_ends_without_cutting_a_request() {
    ends_without_cutting_a_request("actix_orders").await;
}
