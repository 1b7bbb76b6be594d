use std::sync::OnceLock;

use distlock::{LockError, LockManager, distributed_lock};

static LOCKS: OnceLock<LockManager> = OnceLock::new();

#[distributed_lock(key = "k:{order_id}", locks = LOCKS)]
async fn fulfil(order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}
