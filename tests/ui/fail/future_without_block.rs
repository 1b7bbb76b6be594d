use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}")]
fn fulfil(order_id: u64) -> impl Future<Output = Result<u64, LockError>> {
    charge(order_id)
}

fn main() {}

async fn charge(order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}
