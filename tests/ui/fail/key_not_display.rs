use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "{order}")]
async fn fulfil(order: Order) -> Result<(), LockError> {
    drop(order);
    Ok(())
}

struct Order;

fn main() {}
