//! A small order API whose requests are locked by a tower layer. Requests with one `Idempotency-Key` run one
//! at a time: a client that repeats a request, because the answer did not come, does not place two orders.
//!
//! ```sh
//! cargo run --example tower_orders --features axum,tower
//! curl -i -X POST localhost:3000/orders -H 'idempotency-key: 7' & \
//!     curl -i -X POST localhost:3000/orders -H 'idempotency-key: 7'
//! ```
//! `DISTLOCK_URL` names the store (default: memory), `PORT` the port (default: 3000), and `WORK_MS` how long
//! a request works, in milliseconds (default: 1000).

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use distlock::{LockError, LockLayer, LockManager};

#[derive(Clone)]
struct App {
    /// The idempotency keys of the orders. A service keeps them in its database.
    placed: Arc<Mutex<BTreeSet<String>>>,
    work: Duration,
}

/// The request's idempotency key; empty if it has none.
fn idempotency_key(headers: &HeaderMap) -> &str {
    headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The lock excludes a second request while the first one runs. That the first one is done is remembered by
/// the application, not by the lock.
async fn place(State(app): State<App>, headers: HeaderMap) -> StatusCode {
    let key = idempotency_key(&headers).to_owned();
    if app.placed.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
        return StatusCode::OK;
    }
    tokio::time::sleep(app.work).await;
    app.placed.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    StatusCode::CREATED
}

async fn list(State(app): State<App>) -> Json<BTreeSet<String>> {
    Json(app.placed.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// The lock of a request. A request without an idempotency key gets an empty key, which is refused.
fn lock(locks: LockManager) -> impl Fn(&Request) -> distlock::LockRequest {
    move |request| {
        let key = idempotency_key(request.headers());
        let key = if key.is_empty() { String::new() } else { format!("place:{key}") };
        locks.lock(key).ttl(Duration::from_secs(30))
    }
}

fn refuse(error: LockError) -> Response {
    match error {
        LockError::InvalidKey { .. } => {
            (StatusCode::BAD_REQUEST, "the header Idempotency-Key is missing or too long").into_response()
        }
        error => error.into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DISTLOCK_URL").unwrap_or_else(|_| "memory://".to_owned());
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let work = Duration::from_millis(env::var("WORK_MS").map_or(Ok(1000), |ms| ms.parse())?);
    let locks = LockManager::connect(url).await?;
    let layer = LockLayer::new(lock(locks), |error| Ok(refuse(error)))
        .only_if(|request| request.method() == Method::POST);
    let router = Router::new()
        .route("/orders", post(place).get(list))
        .layer(layer)
        .with_state(App { placed: Arc::default(), work });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    println!("try: curl -i -X POST http://{address}/orders -H 'idempotency-key: 7'");
    axum::serve(listener, router).await?;
    Ok(())
}
