use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "{oder_id}:{}:{0}:{order_id:y}:{order_id}{order_id}")]
async fn fulfil(order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}
