use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}", lockAtMostFor = "30s", waitTime = 2, expire = 3, timeout = 4)]
async fn fulfil(order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}
