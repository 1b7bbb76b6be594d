use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "{name.to_lowercas()}")]
async fn fulfil(name: String) -> Result<String, LockError> {
    Ok(name)
}

fn main() {}
