//! Locked handlers of actix-web.
#![allow(clippy::future_not_send, reason = "an `HttpResponse` is not `Send`, and is kept across the release")]

use actix_web::{HttpResponse, Responder, ResponseError, delete, get, post, put, web};
use distlock::{LockError, LockManager, distributed_lock};
use serde::Deserialize;

/// The body of a request.
#[derive(Debug, Deserialize)]
pub struct Order {
    /// The order's number.
    pub id: u64,
}

/// # Errors
/// The lock is not acquired, or it is lost.
#[post("/orders/{id}/fulfil")]
#[distributed_lock(key = "order:{id}", locks = **locks)]
pub async fn fulfil(locks: web::Data<LockManager>, id: web::Path<u64>) -> Result<HttpResponse, LockError> {
    tokio::task::yield_now().await;
    Ok(HttpResponse::Ok().json(*id))
}

/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "order:{order.id}", locks = locks.get_ref())]
pub async fn place(
    locks: web::Data<LockManager>,
    web::Json(order): web::Json<Order>,
) -> Result<impl Responder, actix_web::Error> {
    tokio::task::yield_now().await;
    Ok(web::Json(order.id))
}

#[get("/orders/{id}")]
#[distributed_lock(key = "read:{id}", locks = locks.get_ref(), on_error = |error| error.error_response())]
pub async fn read(locks: web::Data<LockManager>, id: web::Path<u64>) -> HttpResponse {
    tokio::task::yield_now().await;
    HttpResponse::Ok().body(id.to_string())
}

#[put("/orders/{id}")]
#[distributed_lock(key = "order:{id}", locks = locks)]
pub async fn replace(locks: web::Data<LockManager>, id: web::Path<u64>) -> Result<HttpResponse, LockError> {
    tokio::task::yield_now().await;
    Ok(HttpResponse::Ok().json(*id))
}

#[delete("/orders/{id}")]
#[distributed_lock(
    key = "order:{id}",
    locks = locks.get_ref(),
    on_busy = |_| "busy".to_owned(),
    on_error = |error| error.to_string(),
)]
pub async fn remove(locks: web::Data<LockManager>, id: web::Path<u64>) -> impl Responder {
    tokio::task::yield_now().await;
    format!("removed {id}")
}

/// Adds all handlers to an application.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(fulfil)
        .service(replace)
        .service(read)
        .service(remove)
        .route("/orders", web::post().to(place));
}
