use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "order:{}", id)]
async fn as_in_format(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

#[distributed_lock(key = "order:{}:{}", ids[0], order.id())]
async fn several(ids: [u64; 1], order: Order) -> Result<(), LockError> {
    drop((ids, order));
    Ok(())
}

fn main() {}

struct Order;
