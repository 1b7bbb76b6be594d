//! The layer around an axum router, through real HTTP.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use distlock::{LockError, LockLayer, distributed_lock};
use reqwest::Client;
use test_support::{RedisServer, eventually};

use crate::shop::{self, Shop};

type Shared = State<Arc<Shop>>;

/// How long a test waits for what must come at once.
const SOON: Duration = Duration::from_secs(10);

/// The key of `/{handler}/{id}`: that of the order. It is empty if the id is not a number.
fn key(request: &Request) -> String {
    let id = request.uri().path().split('/').nth(2).and_then(|id| id.parse::<u64>().ok());
    id.map_or(String::new(), |id| format!("order:{id}"))
}

fn refuse(error: LockError) -> Response {
    match error {
        LockError::InvalidKey { .. } => StatusCode::BAD_REQUEST.into_response(),
        error => error.into_response(),
    }
}

async fn alone(State(shop): Shared) {
    shop.alone().await;
}

async fn hold(State(shop): Shared) {
    shop.until_opened().await;
}

async fn both(State(shop): Shared) {
    shop.side_by_side().await;
}

#[distributed_lock(key = "order:{id}", locks = shop.locks)]
async fn again(State(shop): Shared, Path(id): Path<u64>) -> Result<(), LockError> {
    shop.alone().await;
    Ok(())
}

/// A response whose body ends when the test lets it.
async fn stream(State(shop): Shared) -> Body {
    Body::from_stream(futures_util::stream::once(async move {
        shop.until_opened().await;
        Ok::<_, std::io::Error>("end")
    }))
}

/// How many calls of [`endless`] have begun, and how many have ended or were dropped.
#[derive(Default)]
struct Calls {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

struct Ended<'a>(&'a Calls);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

async fn endless(calls: Arc<Calls>) {
    calls.begun.fetch_add(1, Ordering::SeqCst);
    let _ended = Ended(&calls);
    std::future::pending::<()>().await;
}

/// Serves the shop with locked `POST` requests. Those of `/alone` and `/wait` wait for their turn, and those
/// of `/lost` lose their lock after 50 ms.
async fn serve(server: &RedisServer) -> (Arc<Shop>, Arc<Calls>, String) {
    let shop = Arc::new(Shop::on(server).await);
    let calls = Arc::new(Calls::default());
    let locks = shop.locks.clone();
    let lock = move |request: &Request| {
        let lock = locks.lock(key(request));
        match request.uri().path().split('/').nth(1) {
            Some("wait") => lock.wait(Duration::from_secs(30)),
            Some("lost") => lock.max_hold(Duration::from_millis(50)),
            _ => lock,
        }
    };
    let counted = Arc::clone(&calls);
    let endless = move || endless(Arc::clone(&counted));
    let router = Router::new()
        .route("/wait/{id}", post(alone))
        .route("/hold/{id}", post(hold).get(alone))
        .route("/both/{id}", post(both))
        .route("/again/{id}", post(again))
        .route("/stream/{id}", post(stream))
        .route("/lost/{id}", post(endless))
        .layer(
            LockLayer::new(lock, |error| Ok(refuse(error)))
                .only_if(|request| request.method() == Method::POST),
        )
        .with_state(Arc::clone(&shop));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (shop, calls, address)
}

async fn status(address: &str, path: &str) -> StatusCode {
    shop::post(&Client::new(), format!("http://{address}{path}")).await.status()
}

#[tokio::test]
async fn with_wait_requests_for_one_order_run_one_at_a_time() {
    let server = RedisServer::start();
    let (shop, _, address) = serve(&server).await;
    shop::one_at_a_time(&shop, &address).await;
}

#[tokio::test]
async fn without_wait_one_of_twenty_requests_is_served() {
    let server = RedisServer::start();
    let (shop, _, address) = serve(&server).await;
    shop::one_of_twenty(&shop, &address).await;
}

#[tokio::test]
async fn different_orders_run_side_by_side() {
    let server = RedisServer::start();
    let (_, _, address) = serve(&server).await;
    shop::orders_overlap(&address).await;
}

#[tokio::test]
async fn a_client_that_disconnects_frees_the_lock() {
    let server = RedisServer::start();
    let (_, _, address) = serve(&server).await;
    shop::a_disconnect_frees_the_lock(&server, &address).await;
}

#[tokio::test]
async fn a_client_that_disconnects_while_it_waits_leaves_the_queue() {
    let server = RedisServer::start();
    let (shop, _, address) = serve(&server).await;
    let holder = shop.locks.lock("order:7").acquire().await.unwrap();
    let url = format!("http://{address}/wait/7");
    let request = tokio::spawn(async move { shop::post(&Client::new(), url).await });
    eventually(SOON, || async { server.wait_queue_of("lock:order:7").await.is_some() }).await;
    request.abort();
    eventually(SOON, || async { server.wait_queue_of("lock:order:7").await.is_none() }).await;
    holder.release().await.unwrap();
    assert!(shop.locks.lock("order:7").try_acquire().await.unwrap().is_some());
}

#[tokio::test]
async fn a_request_that_is_left_out_runs_beside_a_locked_one() {
    let server = RedisServer::start();
    let (shop, _, address) = serve(&server).await;
    let _holder = shop.locks.lock("order:7").acquire().await.unwrap();
    let url = format!("http://{address}/hold/7");
    assert_eq!(Client::new().get(url).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_without_a_key_reaches_no_handler() {
    let server = RedisServer::start();
    let (_, calls, address) = serve(&server).await;
    assert_eq!(status(&address, "/lost/%34%32").await, StatusCode::BAD_REQUEST);
    assert_eq!(calls.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_lost_lock_stops_the_handler() {
    let server = RedisServer::start();
    let (_, calls, address) = serve(&server).await;
    assert_eq!(status(&address, "/lost/7").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(calls.begun.load(Ordering::SeqCst), 1);
    assert_eq!(calls.ended.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_handler_that_locks_the_key_of_its_layer_again_is_refused() {
    let server = RedisServer::start();
    let (_, _, address) = serve(&server).await;
    assert_eq!(status(&address, "/again/7").await, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_streaming_body_runs_on_after_the_release() {
    let server = RedisServer::start();
    let (shop, _, address) = serve(&server).await;
    let url = format!("http://{address}/stream/7");
    let response = shop::post(&Client::new(), url).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!server.has("lock:order:7").await);
    shop.open.add_permits(1);
    assert_eq!(response.text().await.unwrap(), "end");
}
