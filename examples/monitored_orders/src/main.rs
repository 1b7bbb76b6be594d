//! The order API of `axum_orders`, with the metrics of its locks at `/metrics`, for Prometheus.
//!
//! ```sh
//! cargo run -p monitored_orders
//! curl -X POST localhost:3000/orders/42/fulfil
//! curl localhost:3000/metrics
//! ```
//! `DISTLOCK_URL` names the store (default: memory), `PORT` the port (default: 3000), and `WORK_MS` how long
//! a request works, in milliseconds (default: 20).

use std::{env, error::Error, time::Duration};

use axum::{
    Router,
    extract::{Path, State},
    routing::{get, post},
};
use distlock::{LockError, LockManager, distributed_lock};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

/// The upper limits of the histograms, in seconds: from a round trip to a long job. Without them the exporter
/// would show quantiles, which cannot be added up over processes.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 300.0];

#[derive(Clone)]
struct App {
    locks: LockManager,
    work: Duration,
}

/// A second request for an order is answered with 409.
#[distributed_lock(key = "order:{order_id}", ttl = 30, locks = app.locks)]
async fn fulfil(State(app): State<App>, Path(order_id): Path<u64>) -> Result<String, LockError> {
    tokio::time::sleep(app.work).await;
    Ok(format!("order {order_id} fulfilled\n"))
}

/// A second request for the stock of an order waits for its turn.
#[distributed_lock(key = "stock:{order_id}", ttl = 30, wait = "5s", locks = app.locks)]
async fn count(State(app): State<App>, Path(order_id): Path<u64>) -> Result<String, LockError> {
    tokio::time::sleep(app.work).await;
    Ok(format!("stock of order {order_id} counted\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Prefix("distlock_".to_owned()), &BUCKETS)?
        .install_recorder()?;
    let url = env::var("DISTLOCK_URL").unwrap_or_else(|_| "memory://".to_owned());
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let work = Duration::from_millis(env::var("WORK_MS").map_or(Ok(20), |ms| ms.parse())?);
    let locks = LockManager::connect(url).await?;
    let router = Router::new()
        .route("/orders/{id}/fulfil", post(fulfil))
        .route("/orders/{id}/stock", post(count))
        .route("/metrics", get(move || async move { recorder.render() }))
        .with_state(App { locks, work });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}
