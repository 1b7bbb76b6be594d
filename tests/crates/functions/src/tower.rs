//! Services of tower.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use distlock::{LockError, LockManager, distributed_lock};
use tower_service::Service;

/// A service that handles one request for each order at a time.
#[derive(Debug, Clone)]
pub struct Fulfil {
    /// The locks of this service.
    pub locks: LockManager,
}

/// The request.
#[derive(Debug)]
pub struct Order {
    /// The order's number.
    pub id: u64,
}

impl Service<Order> for Fulfil {
    type Response = u64;
    type Error = LockError;
    type Future = Pin<Box<dyn Future<Output = Result<u64, LockError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), LockError>> {
        Poll::Ready(Ok(()))
    }

    #[distributed_lock(key = "order:{order.id}", ttl = 30, locks = self.locks)]
    fn call(&mut self, order: Order) -> Pin<Box<dyn Future<Output = Result<u64, LockError>> + Send>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(order.id)
        })
    }
}

/// A service that answers every error of the lock by itself.
#[derive(Debug, Clone, Copy)]
pub struct Infallibly;

impl Service<u64> for Infallibly {
    type Response = String;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<String, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    #[distributed_lock(key = "answer:{id}", on_error = |error| Ok(format!("{id}: {error}")))]
    fn call(&mut self, id: u64) -> Pin<Box<dyn Future<Output = Result<String, Infallible>> + Send>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(format!("{id}: fulfilled"))
        })
    }
}
