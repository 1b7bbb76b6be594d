use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k")]
async fn without_value() -> Result<(), LockError> {
    let _done = true;
}

#[distributed_lock(key = "k")]
async fn semicolon() -> Result<u8, LockError> {
    Ok(1);
}

fn main() {}
