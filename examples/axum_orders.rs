//! A small order API with axum. Requests for one order run one at a time, requests for different orders side
//! by side.
//!
//! ```sh
//! cargo run --example axum_orders --features axum
//! curl -i -X POST localhost:3000/orders/42/fulfil & curl -i -X POST localhost:3000/orders/42/fulfil
//! curl -i -X POST localhost:3000/refunds -H 'content-type: application/json' \
//!     -d '{"order_id": 42, "cents": 995}'
//! ```
//! `DISTLOCK_URL` names the store (default: memory), `PORT` the port (default: 3000), and `WORK_MS` how long
//! a request works, in milliseconds (default: 1000).

use std::{env, error::Error, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::post,
};
use distlock::{LockError, LockManager, distributed_lock};
use serde::{Deserialize, Serialize};

#[derive(Clone)]
struct App {
    locks: LockManager,
    work: Duration,
}

#[derive(Serialize)]
struct Receipt {
    order_id: u64,
    status: &'static str,
}

#[derive(Deserialize)]
struct Refund {
    order_id: u64,
    cents: u32,
}

/// While an order is being fulfilled, a second request for it is answered with 409 and `Retry-After`.
#[distributed_lock(key = "order:{order_id}", ttl = 30, locks = app.locks)]
async fn fulfil(State(app): State<App>, Path(order_id): Path<u64>) -> Result<Json<Receipt>, LockError> {
    tokio::time::sleep(app.work).await;
    Ok(Json(Receipt { order_id, status: "fulfilled" }))
}

/// Uses the same lock as `fulfil`, with the key from a JSON body. This one waits for its turn.
#[distributed_lock(key = "order:{refund.order_id}", ttl = 30, wait = "5s", locks = app.locks)]
async fn refund(State(app): State<App>, Json(refund): Json<Refund>) -> Result<Json<Receipt>, LockError> {
    tokio::time::sleep(app.work).await;
    Ok(Json(Receipt {
        order_id: refund.order_id,
        status: if refund.cents > 0 { "refunded" } else { "nothing to do" },
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DISTLOCK_URL").unwrap_or_else(|_| "memory://".to_owned());
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let work = Duration::from_millis(env::var("WORK_MS").map_or(Ok(1000), |ms| ms.parse())?);
    let locks = LockManager::connect(url).await?;
    let app = App { locks: locks.clone(), work };
    let router = Router::new()
        .route("/orders/{id}/fulfil", post(fulfil))
        .route("/refunds", post(refund))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    println!("try: curl -i -X POST http://{address}/orders/42/fulfil");
    // First the requests that have been accepted, then whatever else of the program holds a lock. The drain
    // ends with a `shutdown`: a body that still runs after 20 s is stopped, and its key is released.
    axum::serve(listener, router).with_graceful_shutdown(termination()).await?;
    locks.drain(Duration::from_secs(20)).await;
    Ok(())
}

/// Ends when the process is asked to end: by Ctrl-C, or by SIGTERM, as Kubernetes does.
async fn termination() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).expect("a handler for SIGTERM");
        tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    let _ = interrupt.await;
}
