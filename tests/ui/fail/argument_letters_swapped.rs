use distlock::{LockError, distributed_lock};

#[distributed_lock(kye = "k:{order_id}", tlt = 30)]
async fn fulfil(order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}
