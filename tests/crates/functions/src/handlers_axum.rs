//! Locked handlers of axum.
#![allow(clippy::diverging_sub_expression, reason = "`debug_handler` causes it, even without our attribute")]

use std::collections::HashMap;

use axum::{
    Extension, Json, Router, debug_handler,
    extract::{FromRef, Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use distlock::{LockError, LockManager, distributed_lock};
use serde::{Deserialize, Serialize};

/// The application's state.
#[derive(Debug, Clone)]
pub struct App {
    /// The application's locks.
    pub locks: LockManager,
}

/// The body of a request.
#[derive(Debug, Deserialize, Serialize)]
pub struct Order {
    /// The order's number.
    pub id: u64,
    /// The customer who ordered.
    pub customer: Customer,
}

/// A part of the body.
#[derive(Debug, Deserialize, Serialize)]
pub struct Customer {
    /// The customer's address.
    pub email: String,
}

/// The query of a request.
#[derive(Debug, Deserialize)]
pub struct Page {
    number: u32,
}

/// An error of the application.
#[derive(Debug)]
pub enum AppError {
    /// An error of the lock.
    Lock(LockError),
}

impl From<LockError> for AppError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            Self::Lock(error) => error.into_response(),
        }
    }
}

#[debug_handler]
#[distributed_lock(key = "order:{id}", locks = app.locks)]
async fn fulfil(State(app): State<App>, Path(id): Path<u64>) -> Result<Json<u64>, LockError> {
    tokio::task::yield_now().await;
    Ok(Json(id))
}

#[distributed_lock(key = "order:{id}", locks = state.locks)]
#[debug_handler(state = App)]
async fn fulfil_above_debug_handler(state: State<App>, Path(id): Path<u64>) -> Result<Json<u64>, AppError> {
    tokio::task::yield_now().await;
    Ok(Json(id))
}

#[distributed_lock(key = "customer:{order.customer.email}", locks = app.locks)]
async fn place(
    State(app): State<App>,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Json<Order>), AppError> {
    tokio::task::yield_now().await;
    Ok((StatusCode::CREATED, Json(order)))
}

#[distributed_lock(key = "{shop}/{order}", locks = app.locks, on_error = IntoResponse::into_response)]
async fn respond(State(app): State<App>, Path((shop, order)): Path<(String, u64)>) -> Response {
    tokio::task::yield_now().await;
    (StatusCode::ACCEPTED, shop).into_response()
}

#[distributed_lock(key = "page:{number}", locks = app.locks, on_error = |_| (StatusCode::CONFLICT, "busy"))]
async fn opaque(State(app): State<App>, Query(Page { number }): Query<Page>) -> impl IntoResponse {
    tokio::task::yield_now().await;
    (StatusCode::OK, "done")
}

#[distributed_lock(key = format!("tenant:{}", tenant(&headers)), locks = app.locks)]
async fn by_header(Extension(app): Extension<App>, headers: HeaderMap) -> Result<StatusCode, LockError> {
    tokio::task::yield_now().await;
    Ok(StatusCode::NO_CONTENT)
}

fn tenant(headers: &HeaderMap) -> &str {
    headers.get("tenant").and_then(|value| value.to_str().ok()).unwrap_or("none")
}

#[distributed_lock(
    key = "search:{query:?}",
    locks = app.locks,
    on_busy = |_| Json(Vec::new()),
    on_error = |_| Json(Vec::new()),
)]
async fn search(State(app): State<App>, Query(query): Query<HashMap<String, String>>) -> Json<Vec<String>> {
    tokio::task::yield_now().await;
    Json(query.into_values().collect())
}

/// Takes two locks, around the attribute of axum.
#[distributed_lock(key = "shop", locks = locks)]
#[debug_handler(state = App)]
#[distributed_lock(key = "order:{id}", locks = extension)]
async fn extractors(
    locks: State<LockManager>,
    extension: Extension<LockManager>,
    Path(id): Path<u64>,
) -> Result<Json<u64>, AppError> {
    tokio::task::yield_now().await;
    Ok(Json(id))
}

impl FromRef<App> for LockManager {
    fn from_ref(app: &App) -> Self {
        app.locks.clone()
    }
}

/// Returns a router with all handlers.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/orders/{id}/fulfil", post(fulfil))
        .route("/orders/{id}/under", post(fulfil_above_debug_handler))
        .route("/orders", post(place))
        .route("/shops/{shop}/{order}", post(respond))
        .route("/pages", get(opaque))
        .route("/tenant", get(by_header))
        .route("/search", get(search))
        .route("/extractors/{id}", post(extractors))
        .layer(Extension(app.locks.clone()))
        .layer(Extension(app.clone()))
        .with_state(app)
}
