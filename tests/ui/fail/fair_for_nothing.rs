use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k", fair = false)]
async fn without_wait() -> Result<(), LockError> {
    Ok(())
}

#[distributed_lock(key = "k", wait = 1, fair = false, fenced)]
async fn fenced() -> Result<(), LockError> {
    Ok(())
}

#[distributed_lock(key = "k", wait = 1, fair = false, renew = false)]
async fn not_renewed() -> Result<(), LockError> {
    Ok(())
}

#[distributed_lock(key = "k", wait = 1, fair = "no")]
async fn text() -> Result<(), LockError> {
    Ok(())
}

fn main() {}
