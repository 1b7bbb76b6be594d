use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "{prices[order]}")]
async fn fulfil(prices: Vec<u64>, order_: usize) -> Result<u64, LockError> {
    Ok(prices[order_])
}

fn main() {}
