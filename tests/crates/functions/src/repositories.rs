//! Repositories behind traits, with `async_trait` and without.

use std::{collections::HashMap, sync::Mutex};

use async_trait::async_trait;
use distlock::{LockError, LockManager, distributed_lock};

/// Orders, as the application sees them.
#[async_trait]
pub trait Orders: Send + Sync {
    /// Writes an order. Returns whether it is new.
    async fn place(&self, id: u64, name: &str) -> Result<bool, LockError>;

    /// Removes an order.
    async fn cancel(&mut self, id: u64) -> Result<Option<String>, LockError>;

    /// Returns the locks for the default body.
    fn locks(&self) -> &LockManager;

    /// Has a default body, which is locked.
    #[distributed_lock(key = "touch:{id}", locks = self.locks())]
    async fn touch(&self, id: u64) -> Result<u64, LockError> {
        tokio::task::yield_now().await;
        Ok(id)
    }
}

/// Orders in memory.
#[derive(Debug)]
pub struct Memory {
    /// The tenant whose orders these are.
    pub tenant: String,
    /// The locks of this repository.
    pub locks: LockManager,
    orders: Mutex<HashMap<u64, String>>,
}

impl Memory {
    /// Makes a repository without orders.
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
        let mut orders = self.orders.lock().expect("no panic");
        Ok(orders.insert(id, name.to_owned()).is_none())
    }

    #[distributed_lock(key = "{self.tenant}:order:{id}", locks = self.locks)]
    async fn cancel(&mut self, id: u64) -> Result<Option<String>, LockError> {
        tokio::task::yield_now().await;
        let orders = self.orders.get_mut().expect("no panic");
        Ok(orders.remove(&id))
    }

    fn locks(&self) -> &LockManager {
        &self.locks
    }
}

/// A trait whose futures are not `Send`.
#[async_trait(?Send)]
pub trait Local {
    /// Takes an argument that is not `Send`.
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

/// The path of a request, as in web frameworks.
#[derive(Debug)]
pub struct Path<T>(pub T);

/// Handlers whose arguments are patterns.
#[async_trait]
pub trait Handlers {
    /// Takes arguments apart.
    async fn handle(
        &self,
        path: Path<u64>,
        names: (String, Vec<u8>),
        order: &(u8, u8),
    ) -> anyhow::Result<String>;

    /// Takes no `self`.
    async fn free(pair: (u64, String)) -> anyhow::Result<u64>;
}

#[async_trait]
impl Handlers for Memory {
    #[distributed_lock(key = "first", wait = "5s", locks = self.locks, guard = lock)]
    #[distributed_lock(key = "second", wait = "5s", locks = self.locks)]
    #[distributed_lock(key = "{self.tenant}:{id}:{first}:{name}", locks = self.locks, guard = named)]
    async fn handle(
        &self,
        Path(id): Path<u64>,
        (mut name, _): (String, Vec<u8>),
        (first, _): &(u8, u8),
    ) -> anyhow::Result<String> {
        tokio::task::yield_now().await;
        name.push_str(lock.key());
        Ok(format!("{id} {name} {}", named.key()))
    }

    #[distributed_lock(key = "free:{id}:{name}")]
    async fn free((id, name): (u64, String)) -> anyhow::Result<u64> {
        tokio::task::yield_now().await;
        Ok(id)
    }
}

/// A trait that is generic over the stored value.
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

/// Calls a locked method of a trait object.
///
/// # Errors
/// The lock is not acquired, or it is lost.
pub async fn through_dyn(orders: &dyn Orders, id: u64) -> Result<bool, LockError> {
    orders.place(id, "through dyn").await
}
