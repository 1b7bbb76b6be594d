use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}", on_error = |error| error.to_string())]
async fn fulfil(order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}
