use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}", ttl = 30s)]
async fn fulfil(order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}
