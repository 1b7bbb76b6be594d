//! Locked handlers through real HTTP, with actix-web.

use std::time::Duration;

use actix_web::{
    App, HttpResponse, HttpServer,
    web::{Data, Json, Path, post},
};
use distlock::{LockError, distributed_lock};
use serde::Deserialize;
use test_support::RedisServer;

use crate::shop::{self, Shop};

#[distributed_lock(key = "order:{id}", wait = "30s", locks = shop.locks)]
async fn wait(shop: Data<Shop>, id: Path<u64>) -> Result<&'static str, LockError> {
    shop.alone().await;
    Ok("")
}

#[distributed_lock(key = "order:{id}", locks = shop.locks)]
async fn hold(shop: Data<Shop>, id: Path<u64>) -> Result<&'static str, LockError> {
    shop.until_opened().await;
    Ok("")
}

#[distributed_lock(key = "order:{id}", locks = shop.locks)]
async fn both(shop: Data<Shop>, id: Path<u64>) -> Result<&'static str, LockError> {
    shop.side_by_side().await;
    Ok("")
}

const MINUTE: Duration = Duration::from_secs(60);

#[distributed_lock(
    key = "order:{id}",
    locks = shop.locks,
    on_error = |error| error.problem().with_key().max_retry_after(MINUTE).into(),
)]
async fn told(shop: Data<Shop>, id: Path<u64>) -> HttpResponse {
    shop.alone().await;
    HttpResponse::Ok().finish()
}

#[derive(Deserialize)]
struct Order {
    order_id: u64,
}

#[distributed_lock(key = "order:{order.order_id}", locks = shop.locks)]
async fn json(shop: Data<Shop>, order: Json<Order>) -> Result<&'static str, LockError> {
    shop.alone().await;
    Ok("")
}

/// Serves the shop. Returns it with its address. The workers of actix-web are runtimes of their own, and one
/// manager serves them all.
async fn serve(server: &RedisServer) -> (Data<Shop>, String) {
    let shop = Data::new(Shop::on(server).await);
    let served = shop.clone();
    let http = HttpServer::new(move || {
        App::new()
            .app_data(served.clone())
            .route("/wait/{id}", post().to(wait))
            .route("/hold/{id}", post().to(hold))
            .route("/both/{id}", post().to(both))
            .route("/told/{id}", post().to(told))
            .route("/json", post().to(json))
    })
    .workers(2)
    // By default actix-web lets a handler finish after its client has closed its side.
    .h1_allow_half_closed(false)
    .disable_signals()
    .bind("127.0.0.1:0")
    .unwrap();
    let address = http.addrs()[0].to_string();
    tokio::spawn(http.run());
    (shop, address)
}

#[actix_web::test]
async fn with_wait_requests_for_one_order_run_one_at_a_time() {
    let server = RedisServer::start();
    let (shop, address) = serve(&server).await;
    shop::one_at_a_time(&shop, &address).await;
}

#[actix_web::test]
async fn without_wait_one_of_twenty_requests_is_served() {
    let server = RedisServer::start();
    let (shop, address) = serve(&server).await;
    shop::one_of_twenty(&shop, &address).await;
}

#[actix_web::test]
async fn retry_after_is_what_is_left_of_the_lease() {
    let server = RedisServer::start();
    let (shop, address) = serve(&server).await;
    shop::retry_after_is_what_is_left(&shop, &address).await;
}

#[actix_web::test]
async fn a_handler_may_show_the_key_and_a_longer_retry_after() {
    let server = RedisServer::start();
    let (shop, address) = serve(&server).await;
    shop::a_handler_shows_more(&shop, &address).await;
}

#[actix_web::test]
async fn different_orders_run_side_by_side() {
    let server = RedisServer::start();
    let (_, address) = serve(&server).await;
    shop::orders_overlap(&address).await;
}

#[actix_web::test]
async fn a_client_that_disconnects_frees_the_lock() {
    let server = RedisServer::start();
    let (_, address) = serve(&server).await;
    shop::a_disconnect_frees_the_lock(&server, &address).await;
}

#[actix_web::test]
async fn a_store_that_is_down_gives_503() {
    let mut server = RedisServer::start();
    let (_, address) = serve(&server).await;
    shop::a_store_that_is_down(&mut server, &address).await;
}
