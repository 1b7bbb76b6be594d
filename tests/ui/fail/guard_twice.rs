use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "account:{from}", guard = lock)]
#[distributed_lock(key = "account:{to}", guard = lock)]
async fn transfer(from: u64, to: u64) -> Result<bool, LockError> {
    Ok(from != to && lock.is_held())
}

fn main() {}
