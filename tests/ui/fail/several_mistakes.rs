use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{oder_id}", ttl = 0, wiat = 3, on_lost = stop)]
async fn fulfil(order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}
