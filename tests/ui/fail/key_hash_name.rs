use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "order:#order.id")]
async fn fulfil(order: Order) -> Result<u64, LockError> {
    Ok(order.id)
}

fn main() {}

struct Order {
    id: u64,
}
