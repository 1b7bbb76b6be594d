use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k", on_busy = async |_| Ok(()))]
async fn fulfil() -> Result<(), LockError> {
    Ok(())
}

#[distributed_lock(key = "k", on_error = |error| async move { Err(error) })]
async fn charge() -> Result<(), LockError> {
    Ok(())
}

fn main() {}
