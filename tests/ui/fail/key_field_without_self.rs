use distlock::{LockError, distributed_lock};

struct Order {
    number: u64,
}

impl Order {
    #[distributed_lock(key = "order:{number}")]
    async fn fulfil(&self) -> Result<u64, LockError> {
        Ok(self.number)
    }
}

fn main() {}
