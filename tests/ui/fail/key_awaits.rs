use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "{order.await}")]
async fn fulfil(order: impl Future<Output = u64>) -> Result<u64, LockError> {
    Ok(order.await)
}

fn main() {}
