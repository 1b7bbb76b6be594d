use distlock::{LockError, distributed_lock};

#[distributed_lock(key = |id| format!("order:{id}"))]
async fn closure(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

#[distributed_lock(key = (tenant, id))]
async fn tuple(tenant: u64, id: u64) -> Result<u64, LockError> {
    Ok(tenant + id)
}

#[distributed_lock(key = ("order:{}", id))]
async fn as_in_format(id: u64) -> Result<u64, LockError> {
    Ok(id)
}

#[distributed_lock(key = &["a", "b"])]
async fn array() -> Result<(), LockError> {
    Ok(())
}

fn main() {}
