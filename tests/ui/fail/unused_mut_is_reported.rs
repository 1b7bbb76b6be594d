#![deny(unused_mut)]

use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}")]
async fn fulfil(mut order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}
