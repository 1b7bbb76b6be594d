use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}")]
async fn fulfil(order_id: u64) -> Result<impl Stream, LockError> {
    Ok(Orders(order_id))
}

fn main() {}

trait Stream {}

struct Orders(u64);

impl Stream for Orders {}
