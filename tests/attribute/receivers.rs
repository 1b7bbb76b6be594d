//! Every form of `self`.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
};

use distlock::{LockManager, distributed_lock};

use crate::AppResult;

struct Repo {
    locks: LockManager,
    tenant: String,
    written: Mutex<Vec<u64>>,
}

impl Repo {
    fn new(locks: &LockManager) -> Self {
        Self { locks: locks.clone(), tenant: "acme".to_owned(), written: Mutex::default() }
    }

    #[distributed_lock(key = "{self.tenant}:{id}", locks = self.locks)]
    async fn by_reference(&self, id: u64) -> AppResult<()> {
        self.written.lock().unwrap().push(id);
        Ok(())
    }

    #[distributed_lock(key = "own", locks = &self.locks)]
    async fn by_value(self) -> AppResult<Vec<u64>> {
        Ok(self.written.into_inner().unwrap())
    }

    #[distributed_lock(key = "mut", locks = self.locks.clone())]
    async fn by_mutable_reference(&mut self, tenant: &str) -> AppResult<()> {
        tenant.clone_into(&mut self.tenant);
        Ok(())
    }

    #[distributed_lock(key = "arc:{self.tenant}", locks = self.locks)]
    async fn in_an_arc(self: Arc<Self>) -> AppResult<usize> {
        Ok(Arc::strong_count(&self))
    }

    #[distributed_lock(key = "pin", locks = self.locks)]
    async fn pinned(self: Pin<&mut Self>) -> AppResult<String> {
        Ok(self.tenant.clone())
    }
}

#[tokio::test]
async fn every_form_of_self_is_accepted() {
    let locks = LockManager::in_memory();
    let mut repo = Repo::new(&locks);
    repo.by_reference(9).await.unwrap();
    repo.by_mutable_reference("other").await.unwrap();
    assert_eq!(repo.tenant, "other");
    assert_eq!(Pin::new(&mut repo).pinned().await.unwrap(), "other");
    assert_eq!(repo.by_value().await.unwrap(), [9]);
    assert_eq!(Arc::new(Repo::new(&locks)).in_an_arc().await.unwrap(), 1);
}
