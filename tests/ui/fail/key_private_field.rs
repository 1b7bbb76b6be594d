use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "{order.id}")]
async fn fulfil(order: shop::Order) -> Result<u64, LockError> {
    Ok(order.id())
}

fn main() {}

mod shop {
    pub struct Order {
        id: u64,
    }

    impl Order {
        pub fn id(&self) -> u64 {
            self.id
        }
    }
}
