use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "{Shop::TENNANT}:{order_id}")]
async fn fulfil(order_id: u64) -> Result<u64, LockError> {
    Ok(order_id)
}

fn main() {}

struct Shop;

impl Shop {
    const TENANT: &str = "acme";
}
