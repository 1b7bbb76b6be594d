//! A small order API with actix-web: one order is fulfilled by one request at a time, different orders side by side.
//!
//! ```sh
//! cargo run --example actix_orders --features actix-web
//! curl -i -X POST localhost:3000/orders/42/fulfil & curl -i -X POST localhost:3000/orders/42/fulfil
//! curl -i -X POST localhost:3000/refunds -H 'content-type: application/json' -d '{"order_id": 42, "cents": 995}'
//! ```
//! `DISTLOCK_URL` names the store (memory unless given), `PORT` the port (3000).

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

/// The second request for an order that is being fulfilled is answered 409, with `Retry-After`.
#[distributed_lock(key = "order:{order_id}", ttl = 30, locks = shop.locks)]
async fn fulfil(shop: Data<Shop>, order_id: Path<u64>) -> Result<Json<Receipt>, LockError> {
    tokio::time::sleep(shop.work).await;
    Ok(Json(Receipt { order_id: *order_id, status: "fulfilled" }))
}

/// The same lock as `fulfil`, from a JSON body; this one waits for its turn.
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
    let shop = Data::new(Shop { locks: LockManager::connect(url).await?, work });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shop.clone())
            .route("/orders/{id}/fulfil", post().to(fulfil))
            .route("/refunds", post().to(refund))
    })
    // A client that goes away ends its handler, and frees the lock; by default the handler would finish for nobody.
    .h1_allow_half_closed(false)
    .bind(("127.0.0.1", port))?;
    for address in server.addrs() {
        println!("listening on http://{address}");
        println!("try: curl -i -X POST http://{address}/orders/42/fulfil");
    }
    server.run().await?;
    Ok(())
}
