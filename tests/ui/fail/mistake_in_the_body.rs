use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}")]
async fn fulfil(order_id: u64) -> Result<String, LockError> {
    Ok(order_id)
}

fn main() {}
