use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k", ttl = 30)]
async fn without_guard() -> Result<bool, LockError> {
    Ok(guard.is_held() && manager.is_open() && key.len() == 1)
}

fn main() {}
