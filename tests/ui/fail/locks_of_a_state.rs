use std::sync::Arc;

use distlock::{LockError, LockManager, distributed_lock};

struct App {
    locks: LockManager,
}

#[distributed_lock(key = "k:{order_id}", locks = app)]
async fn fulfil(app: Arc<App>, order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}
