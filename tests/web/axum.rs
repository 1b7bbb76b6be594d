//! Locked handlers through real HTTP, with axum.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use distlock::{LockError, distributed_lock};
use serde::Deserialize;
use test_support::RedisServer;

use crate::shop::{self, Shop};

type Shared = State<Arc<Shop>>;

#[distributed_lock(key = "order:{id}", wait = "30s", locks = shop.locks)]
async fn wait(State(shop): Shared, Path(id): Path<u64>) -> Result<(), LockError> {
    shop.alone().await;
    Ok(())
}

#[distributed_lock(key = "order:{id}", locks = shop.locks)]
async fn hold(State(shop): Shared, Path(id): Path<u64>) -> Result<(), LockError> {
    shop.until_opened().await;
    Ok(())
}

#[distributed_lock(key = "order:{id}", locks = shop.locks)]
async fn both(State(shop): Shared, Path(id): Path<u64>) -> Result<(), LockError> {
    shop.side_by_side().await;
    Ok(())
}

const MINUTE: Duration = Duration::from_secs(60);

#[distributed_lock(
    key = "order:{id}",
    locks = shop.locks,
    on_error = |error| error.problem().with_key().max_retry_after(MINUTE).into_response(),
)]
async fn told(State(shop): Shared, Path(id): Path<u64>) -> Response {
    shop.alone().await;
    StatusCode::OK.into_response()
}

#[derive(Deserialize)]
struct Order {
    order_id: u64,
}

#[distributed_lock(key = "order:{order.order_id}", locks = shop.locks)]
async fn json(State(shop): Shared, Json(order): Json<Order>) -> Result<(), LockError> {
    shop.alone().await;
    Ok(())
}

/// Serves the shop. Returns it with its address.
async fn serve(server: &RedisServer) -> (Arc<Shop>, String) {
    let shop = Arc::new(Shop::on(server).await);
    let router = Router::new()
        .route("/wait/{id}", post(wait))
        .route("/hold/{id}", post(hold))
        .route("/both/{id}", post(both))
        .route("/told/{id}", post(told))
        .route("/json", post(json))
        .with_state(Arc::clone(&shop));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (shop, address)
}

#[tokio::test]
async fn with_wait_requests_for_one_order_run_one_at_a_time() {
    let server = RedisServer::start();
    let (shop, address) = serve(&server).await;
    shop::one_at_a_time(&shop, &address).await;
}

#[tokio::test]
async fn without_wait_one_of_twenty_requests_is_served() {
    let server = RedisServer::start();
    let (shop, address) = serve(&server).await;
    shop::one_of_twenty(&shop, &address).await;
}

#[tokio::test]
async fn retry_after_is_what_is_left_of_the_lease() {
    let server = RedisServer::start();
    let (shop, address) = serve(&server).await;
    shop::retry_after_is_what_is_left(&shop, &address).await;
}

#[tokio::test]
async fn a_handler_may_show_the_key_and_a_longer_retry_after() {
    let server = RedisServer::start();
    let (shop, address) = serve(&server).await;
    shop::a_handler_shows_more(&shop, &address).await;
}

#[tokio::test]
async fn different_orders_run_side_by_side() {
    let server = RedisServer::start();
    let (_, address) = serve(&server).await;
    shop::orders_overlap(&address).await;
}

#[tokio::test]
async fn a_client_that_disconnects_frees_the_lock() {
    let server = RedisServer::start();
    let (_, address) = serve(&server).await;
    shop::a_disconnect_frees_the_lock(&server, &address).await;
}

#[tokio::test]
async fn a_store_that_is_down_gives_503() {
    let mut server = RedisServer::start();
    let (_, address) = serve(&server).await;
    shop::a_store_that_is_down(&mut server, &address).await;
}
