//! `LockLayer` around the services of a tonic server.

use std::{sync::Arc, time::Duration};

use distlock::{LockLayer, LockManager};
use test_support::eventually;
use tokio::sync::{Barrier, Semaphore};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    codegen::http,
    metadata::MetadataValue,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_types::StatusExt;

use crate::{
    SOON, check_refusal,
    proto::{
        Order, Receipt,
        orders_client::OrdersClient,
        orders_server::{Orders, OrdersServer},
    },
};

/// `Fulfil` lasts until `open` has a permit, and `Refund` until a second one has begun.
struct Shop {
    /// Gets a permit for each `Fulfil` that has begun.
    begun: Semaphore,
    open: Semaphore,
    both: Barrier,
}

#[tonic::async_trait]
impl Orders for Arc<Shop> {
    async fn fulfil(&self, order: Request<Order>) -> Result<Response<Receipt>, Status> {
        self.begun.add_permits(1);
        self.open.acquire().await.map_err(|_| Status::cancelled("closed"))?.forget();
        Ok(Response::new(Receipt { order_id: order.into_inner().id, status: "fulfilled".to_owned() }))
    }

    async fn refund(&self, order: Request<Order>) -> Result<Response<Receipt>, Status> {
        self.both.wait().await;
        Ok(Response::new(Receipt { order_id: order.into_inner().id, status: "refunded".to_owned() }))
    }
}

/// Serves the shop with one call at a time for each tenant, by the metadata `tenant`. A call with the
/// metadata `patient` waits for its turn.
async fn serve() -> (Arc<Shop>, LockManager, OrdersClient<Channel>) {
    let shop = Arc::new(Shop { begun: Semaphore::new(0), open: Semaphore::new(0), both: Barrier::new(2) });
    let manager = LockManager::in_memory();
    let locks = manager.clone();
    let layer = LockLayer::new(
        move |call: &http::Request<Body>| {
            let tenant = call.headers().get("tenant").and_then(|value| value.to_str().ok());
            let lock = locks.lock(tenant.map_or(String::new(), |tenant| format!("tenant:{tenant}")));
            if call.headers().contains_key("patient") { lock.wait(SOON) } else { lock }
        },
        |error| Ok(Status::from(error).into_http()),
    );
    let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = format!("http://{}", incoming.local_addr().unwrap());
    let server = Server::builder().layer(layer).add_service(OrdersServer::new(Arc::clone(&shop)));
    tokio::spawn(server.serve_with_incoming(incoming));
    (shop, manager, OrdersClient::connect(address).await.unwrap())
}

fn call(tenant: &'static str) -> Request<Order> {
    let mut call = Request::new(Order { id: 42 });
    call.metadata_mut().insert("tenant", MetadataValue::from_static(tenant));
    call
}

#[tokio::test]
async fn a_call_for_a_busy_key_is_aborted() {
    let (shop, _, client) = serve().await;
    let mut first = client.clone();
    let first = tokio::spawn(async move { first.fulfil(call("acme")).await });
    shop.begun.acquire().await.unwrap().forget();
    let status = client.clone().fulfil(call("acme")).await.unwrap_err();
    check_refusal(&status, Code::Aborted, "LOCK_BUSY", |delay| delay.as_secs() == 5);
    shop.open.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap().into_inner().status, "fulfilled");
}

#[tokio::test]
async fn a_call_that_waits_is_served_when_the_key_is_free() {
    let (shop, manager, mut client) = serve().await;
    let holder = manager.lock("tenant:acme").acquire().await.unwrap();
    shop.open.add_permits(1);
    let mut patient = call("acme");
    patient.metadata_mut().insert("patient", MetadataValue::from_static("yes"));
    let waiting = tokio::spawn(async move { client.fulfil(patient).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    drop(holder);
    assert_eq!(waiting.await.unwrap().unwrap().into_inner().status, "fulfilled");
}

#[tokio::test]
async fn calls_for_different_keys_run_side_by_side() {
    let (_, _, client) = serve().await;
    let (mut one, mut two) = (client.clone(), client);
    let (one, two) = tokio::join!(one.refund(call("acme")), two.refund(call("globex")));
    assert!(one.is_ok() && two.is_ok());
}

#[tokio::test]
async fn a_client_that_goes_away_frees_the_key() {
    let (shop, manager, mut client) = serve().await;
    let call = tokio::spawn(async move { client.fulfil(call("acme")).await });
    shop.begun.acquire().await.unwrap().forget();
    call.abort();
    let is_free = async || manager.lock("tenant:acme").try_acquire().await.unwrap().is_some();
    eventually(SOON, is_free).await;
}

#[tokio::test]
async fn a_call_without_a_key_reaches_no_service() {
    let (shop, _, mut client) = serve().await;
    let status = client.fulfil(Order { id: 42 }).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.get_details_error_info().unwrap().reason, "LOCK_FAULT");
    assert_eq!(shop.begun.available_permits(), 0);
    shop.open.add_permits(1);
    assert_eq!(client.fulfil(call("acme")).await.unwrap().into_inner().status, "fulfilled");
}
