//! Repositories behind traits, with `async_trait` and without.

use std::{collections::HashMap, sync::Mutex};

use async_trait::async_trait;
use distlock::{LockError, LockManager, distributed_lock};

/// Orders, as the application sees them.
#[async_trait]
pub trait Orders: Send + Sync {
    /// Writes an order once.
    async fn place(&self, id: u64, name: &str) -> Result<bool, LockError>;

    /// Takes it away.
    async fn cancel(&mut self, id: u64) -> Result<Option<String>, LockError>;

    /// The locks of the default body.
    fn locks(&self) -> &LockManager;

    /// A default body under a lock.
    #[distributed_lock(key = "touch:{id}", locks = self.locks())]
    async fn touch(&self, id: u64) -> Result<u64, LockError> {
        tokio::task::yield_now().await;
        Ok(id)
    }
}

/// Orders in memory.
#[derive(Debug)]
pub struct Memory {
    /// Whose.
    pub tenant: String,
    /// Its locks.
    pub locks: LockManager,
    orders: Mutex<HashMap<u64, String>>,
}

impl Memory {
    /// Without orders.
    #[must_use]
    pub fn new(locks: LockManager) -> Self {
        Self { tenant: "acme".into(), locks, orders: Mutex::default() }
    }
}

#[async_trait]
impl Orders for Memory {
    #[distributed_lock(key = "{self.tenant}:order:{id}", wait = "2s", locks = self.locks)]
    async fn place(&self, id: u64, name: &str) -> Result<bool, LockError> {
        tokio::task::yield_now().await;
        let mut orders = self.orders.lock().expect("nobody panics");
        Ok(orders.insert(id, name.to_owned()).is_none())
    }

    #[distributed_lock(key = "{self.tenant}:order:{id}", locks = self.locks)]
    async fn cancel(&mut self, id: u64) -> Result<Option<String>, LockError> {
        tokio::task::yield_now().await;
        let orders = self.orders.get_mut().expect("nobody panics");
        Ok(orders.remove(&id))
    }

    fn locks(&self) -> &LockManager {
        &self.locks
    }
}

/// One that stays on its thread.
#[async_trait(?Send)]
pub trait Local {
    /// Uses something that is not `Send`.
    async fn count(&self, seen: std::rc::Rc<std::cell::Cell<u32>>) -> Result<u32, LockError>;
}

#[async_trait(?Send)]
impl Local for Memory {
    #[distributed_lock(key = "count:{self.tenant}", locks = self.locks)]
    async fn count(&self, seen: std::rc::Rc<std::cell::Cell<u32>>) -> Result<u32, LockError> {
        tokio::task::yield_now().await;
        seen.set(seen.get() + 1);
        Ok(seen.get())
    }
}

/// Generic over what it stores.
#[async_trait]
pub trait Store<T: Send + 'static>: Send + Sync {
    /// Saves a value under a name.
    async fn save(&self, name: &str, value: T) -> anyhow::Result<T>
    where
        T: Sync;
}

#[async_trait]
impl<T: Send + Clone + 'static> Store<T> for Memory {
    #[distributed_lock(key = "save:{name}", locks = self.locks)]
    async fn save(&self, name: &str, value: T) -> anyhow::Result<T>
    where
        T: Sync,
    {
        tokio::task::yield_now().await;
        Ok(value)
    }
}

/// Through a trait object.
///
/// # Errors
/// The lock's.
pub async fn through_dyn(orders: &dyn Orders, id: u64) -> Result<bool, LockError> {
    orders.place(id, "through dyn").await
}
