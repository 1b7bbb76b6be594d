//! A small order API with actix-web. Requests for one order run one at a time, requests for different orders
//! side by side.
//!
//! ```sh
//! cargo run --example actix_orders --features actix-web
//! curl -i -X POST localhost:3000/orders/42/fulfil & curl -i -X POST localhost:3000/orders/42/fulfil
//! curl -i -X POST localhost:3000/refunds -H 'content-type: application/json' \
//!     -d '{"order_id": 42, "cents": 995}'
//! ```
//! `DISTLOCK_URL` names the store (default: memory), `PORT` the port (default: 3000), and `WORK_MS` how long
//! a request works, in milliseconds (default: 1000).

use std::{env, error::Error, time::Duration};

use actix_web::{
    App, HttpServer,
    web::{Data, Json, Path, post},
};
use distlock::{LockError, LockManager, distributed_lock};
use serde::{Deserialize, Serialize};

struct Shop {
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
#[distributed_lock(key = "order:{order_id}", ttl = 30, locks = shop.locks)]
async fn fulfil(shop: Data<Shop>, order_id: Path<u64>) -> Result<Json<Receipt>, LockError> {
    tokio::time::sleep(shop.work).await;
    Ok(Json(Receipt { order_id: *order_id, status: "fulfilled" }))
}

/// Uses the same lock as `fulfil`, with the key from a JSON body. This one waits for its turn.
#[distributed_lock(key = "order:{refund.order_id}", ttl = 30, wait = "5s", locks = shop.locks)]
async fn refund(shop: Data<Shop>, refund: Json<Refund>) -> Result<Json<Receipt>, LockError> {
    tokio::time::sleep(shop.work).await;
    Ok(Json(Receipt {
        order_id: refund.order_id,
        status: if refund.cents > 0 { "refunded" } else { "nothing to do" },
    }))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DISTLOCK_URL").unwrap_or_else(|_| "memory://".to_owned());
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let work = Duration::from_millis(env::var("WORK_MS").map_or(Ok(1000), |ms| ms.parse())?);
    let locks = LockManager::connect(url).await?;
    let shop = Data::new(Shop { locks: locks.clone(), work });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shop.clone())
            .route("/orders/{id}/fulfil", post().to(fulfil))
            .route("/refunds", post().to(refund))
    })
    // A handler whose client has gone away is dropped, which releases its lock. By default it would run to
    // its end, although no client waits for the response.
    .h1_allow_half_closed(false)
    // After SIGTERM or Ctrl-C, for the requests that have been accepted.
    .shutdown_timeout(20)
    .bind(("127.0.0.1", port))?;
    for address in server.addrs() {
        println!("listening on http://{address}");
        println!("try: curl -i -X POST http://{address}/orders/42/fulfil");
    }
    server.run().await?;
    // Whatever else of the program holds a lock. The drain ends with a `shutdown`: a body that still runs
    // after 20 s is stopped, and its key is released.
    locks.drain(Duration::from_secs(20)).await;
    Ok(())
}
