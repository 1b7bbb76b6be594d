use std::pin::Pin;

use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k")]
async fn without_value() -> Result<(), LockError> {
    let _done = true;
}

#[distributed_lock(key = "k")]
async fn semicolon() -> Result<u8, LockError> {
    Ok(1);
}

#[distributed_lock(key = "k")]
fn in_a_future() -> Pin<Box<dyn Future<Output = Result<(), LockError>>>> {
    Box::pin(async move {
        let _done = true;
    })
}

#[distributed_lock(key = "k")]
#[distributed_lock(key = "j")]
async fn under_two_locks() -> Result<(), LockError> {
    let _done = true;
}

fn main() {}
