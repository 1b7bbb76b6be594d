use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "{order.idd}")]
async fn fulfil(order: Order) -> Result<u64, LockError> {
    Ok(order.id)
}

struct Order {
    id: u64,
}

fn main() {}
