//! A small order service over gRPC, with tonic. Calls for one order run one at a time, calls for different
//! orders side by side.
//!
//! ```sh
//! cargo run -p tonic_orders
//! cd examples/tonic_orders
//! grpcurl -plaintext -proto orders.proto -d '{"id": 42}' localhost:3000 orders.Orders/Fulfil
//! ```
//! `DISTLOCK_URL` names the store (default: memory), `PORT` the port (default: 3000), and `WORK_MS` how long
//! a call works, in milliseconds (default: 1000).

use std::{env, error::Error, time::Duration};

use distlock::{LockManager, distributed_lock};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

mod proto {
    #![allow(clippy::pedantic, unreachable_pub)]
    tonic::include_proto!("orders");
}

use proto::{
    Order, Receipt,
    orders_server::{Orders, OrdersServer},
};

struct Shop {
    locks: LockManager,
    work: Duration,
}

#[tonic::async_trait]
impl Orders for Shop {
    /// While an order is being fulfilled, a second call for it is answered with `ABORTED`, and with the time
    /// to come back.
    #[distributed_lock(key = "order:{order.get_ref().id}", ttl = 30, locks = self.locks)]
    async fn fulfil(&self, order: Request<Order>) -> Result<Response<Receipt>, Status> {
        let order_id = order.into_inner().id;
        tokio::time::sleep(self.work).await;
        Ok(Response::new(Receipt { order_id, status: "fulfilled".to_owned() }))
    }

    /// Uses the same lock as `fulfil`. This one waits for its turn.
    #[distributed_lock(key = "order:{order.get_ref().id}", ttl = 30, wait = "5s", locks = self.locks)]
    async fn refund(&self, order: Request<Order>) -> Result<Response<Receipt>, Status> {
        let order_id = order.into_inner().id;
        tokio::time::sleep(self.work).await;
        Ok(Response::new(Receipt { order_id, status: "refunded".to_owned() }))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DISTLOCK_URL").unwrap_or_else(|_| "memory://".to_owned());
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let work = Duration::from_millis(env::var("WORK_MS").map_or(Ok(1000), |ms| ms.parse())?);
    let shop = Shop { locks: LockManager::connect(url).await?, work };
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], port).into())?;
    println!("listening on http://{}", incoming.local_addr()?);
    Server::builder().add_service(OrdersServer::new(shop)).serve_with_incoming(incoming).await?;
    Ok(())
}
