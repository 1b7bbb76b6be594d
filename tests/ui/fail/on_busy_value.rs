use distlock::{LockError, distributed_lock};

#[distributed_lock(key = "k:{order_id}", on_busy = Err(AppError::InProgress))]
async fn fulfil(order_id: u64) -> Result<u64, AppError> {
    Ok(order_id)
}

fn main() {}

enum AppError {
    InProgress,
    Lock(LockError),
}

impl From<LockError> for AppError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}
