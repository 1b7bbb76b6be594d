//! The manager that `locks` names.

use std::{
    ops::Deref,
    rc::Rc,
    sync::{Arc, LazyLock},
};

use distlock::{LockManager, distributed_lock};

use crate::AppResult;

static LOCKS: LazyLock<LockManager> = LazyLock::new(LockManager::in_memory);

#[distributed_lock(key = "k", locks = LOCKS)]
async fn lazy() -> AppResult<()> {
    Ok(())
}

#[distributed_lock(key = "k", locks = locks)]
async fn any(locks: impl Deref<Target = LockManager>) -> AppResult<()> {
    Ok(())
}

#[distributed_lock(key = "k", locks = locks)]
async fn nested(locks: &Arc<LockManager>) -> AppResult<()> {
    Ok(())
}

#[tokio::test]
async fn a_value_that_dereferences_to_a_manager_is_taken() {
    let locks = LockManager::in_memory();
    let holders = (locks.lock("k").acquire().await.unwrap(), LOCKS.lock("k").acquire().await.unwrap());
    assert!(lazy().await.is_err());
    assert!(any(&locks).await.is_err());
    assert!(any(Rc::new(locks.clone())).await.is_err());
    assert!(any(Arc::new(locks.clone())).await.is_err());
    assert!(nested(&Arc::new(locks)).await.is_err());
    drop(holders);
}
