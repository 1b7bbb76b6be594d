use std::pin::Pin;

use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}")]
fn fulfil(order_id: u64) -> Box<Pin<Box<dyn Future<Output = Result<u64, LockError>>>>> {
    Box::new(Box::pin(async move { Ok(order_id) }))
}

fn main() {}
