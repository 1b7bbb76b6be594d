use distlock::{LockError, distributed_lock};

#[distributed_lock(key = order.into_id())]
async fn fulfil(order: Order) -> Result<u64, LockError> {
    Ok(order.id)
}

fn main() {}

struct Order {
    id: u64,
}

impl Order {
    fn into_id(self) -> u64 {
        self.id
    }
}
