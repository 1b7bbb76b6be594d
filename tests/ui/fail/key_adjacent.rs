use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "{a}{b}")]
async fn fulfil(a: u64, b: u64) -> Result<u64, LockError> {
    Ok(a + b)
}

fn main() {}
