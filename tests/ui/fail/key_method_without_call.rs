use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "{order.id}")]
async fn fulfil(order: Order) -> Result<u64, LockError> {
    Ok(order.id())
}

fn main() {}

struct Order(u64);

impl Order {
    fn id(&self) -> u64 {
        self.0
    }
}
