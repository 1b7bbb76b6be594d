use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k", on_busy = async |_| Ok(()))]
async fn fulfil() -> Result<(), LockError> {
    Ok(())
}

fn main() {}
