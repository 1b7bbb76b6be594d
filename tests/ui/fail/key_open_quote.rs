use distlock::{LockError, distributed_lock};

#[distributed_lock(key = r#"{prices["}"#)]
async fn fulfil(prices: std::collections::HashMap<String, u64>) -> Result<u64, LockError> {
    Ok(prices["a"])
}

fn main() {}
