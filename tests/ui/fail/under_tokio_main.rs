use distlock::{LockError, distributed_lock};

#[tokio::main]
#[distributed_lock(key = "k")]
async fn main() -> Result<(), LockError> {
    Ok(())
}
