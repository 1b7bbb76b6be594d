#![deny(unused_variables)]

use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}")]
async fn fulfil(order_id: u64, note: String) -> Result<(), LockError> {
    Ok(())
}

fn main() {}
