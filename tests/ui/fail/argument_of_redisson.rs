use distlock::{LockError, distributed_lock};

#[distributed_lock(name = "k:{order_id}", leaseTime = 30, retry = 3, prefix = "orders", lockAtLeastFor = "5s")]
async fn fulfil(order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}
