use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order}")]
async fn used_after_its_move(order: String) -> Result<usize, LockError> {
    drop(order);
    Ok(order.len())
}

#[distributed_lock(key = "k:{order}")]
async fn borrowed_for_too_long(order: String) -> Result<&'static str, LockError> {
    Ok(&order)
}

fn main() {}
