use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}", guard = lock)]
async fn fulfil(order_id: u64) -> Result<u64, LockError> {
    tokio::spawn(async move { lock.is_held() });
    Ok(order_id)
}

fn main() {}
