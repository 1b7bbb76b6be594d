//! Locked methods of services: every receiver, generics, traits.

use std::{
    collections::HashMap,
    fmt::{Debug, Display},
    future::Future,
    hash::Hash,
    pin::Pin,
    sync::{Arc, Mutex},
};

use distlock::{LockError, LockManager, distributed_lock};

/// The error of an application.
#[derive(Debug)]
pub enum ServiceError {
    /// An error of the lock.
    Lock(LockError),
    /// The seat is sold.
    Sold,
}

impl From<LockError> for ServiceError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

/// The alias that many applications have.
pub type Result<T, E = ServiceError> = std::result::Result<T, E>;

/// Seats that are sold, with a lock for each seat.
#[derive(Debug)]
pub struct Seats<S> {
    /// The tenant whose seats these are.
    pub tenant: String,
    /// The locks of this service.
    pub locks: LockManager,
    /// The seats that are sold, and their owners.
    pub taken: Mutex<HashMap<u32, S>>,
}

impl<S: Clone + Send + Debug> Seats<S> {
    /// Sells a seat.
    ///
    /// # Errors
    /// The seat is sold, or the lock is not acquired or is lost.
    #[distributed_lock(key = "{self.tenant}:seat:{seat}", wait = "5s", locks = self.locks)]
    pub async fn sell(&self, seat: u32, to: S) -> Result<()> {
        tokio::task::yield_now().await;
        let mut taken = self.taken.lock().map_err(|_| ServiceError::Sold)?;
        if taken.contains_key(&seat) {
            return Err(ServiceError::Sold);
        }
        taken.insert(seat, to);
        drop(taken);
        Ok(())
    }

    /// Changes the tenant. The key has the old name.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "tenant:{self.tenant}", locks = self.locks)]
    pub async fn rename(&mut self, tenant: impl Into<String> + Send) -> Result<&str> {
        tokio::task::yield_now().await;
        self.tenant = tenant.into();
        Ok(&self.tenant)
    }

    /// Takes the service by value.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "close:{self.tenant}", locks = &self.locks)]
    pub async fn close(self) -> Result<Vec<S>> {
        tokio::task::yield_now().await;
        Ok(self.taken.into_inner().map_err(|_| ServiceError::Sold)?.into_values().collect())
    }

    /// Takes the service as an `Arc`.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "count:{self.tenant}", locks = self.locks)]
    pub async fn count(self: Arc<Self>) -> Result<usize> {
        tokio::task::yield_now().await;
        self.taken.lock().map(|taken| taken.len()).map_err(|_| ServiceError::Sold)
    }

    /// Takes the service as a `Pin`.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "pinned:{self.tenant}", locks = self.locks)]
    pub async fn pinned(self: Pin<&mut Self>) -> Result<String>
    where
        S: Unpin,
    {
        tokio::task::yield_now().await;
        Ok(self.get_mut().tenant.clone())
    }

    /// Takes the service as a `Box`.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "boxed:{self.tenant}", locks = self.locks)]
    pub async fn boxed(self: Box<Self>) -> Result<String> {
        tokio::task::yield_now().await;
        Ok(self.tenant)
    }
}

/// A cache that loads what it lacks.
#[derive(Debug, Default)]
pub struct Cache<K, V, const SHARDS: usize> {
    values: Mutex<HashMap<K, V>>,
}

impl<K, V, const SHARDS: usize> Cache<K, V, SHARDS>
where
    K: Hash + Eq + Clone + Display + Send + Sync,
    V: Clone + Send,
{
    const NAME: &'static str = "cache";

    /// Returns a value, and loads it if it is missing. Several calls load it only once.
    ///
    /// # Errors
    /// The loader fails, or the lock is not acquired or is lost.
    #[distributed_lock(key = "{Self::NAME}/{SHARDS}/{key}", wait = "1s", locks = locks)]
    pub async fn load<F, E>(
        &self,
        locks: &LockManager,
        key: K,
        load: impl FnOnce(K) -> F + Send,
    ) -> std::result::Result<V, E>
    where
        F: Future<Output = std::result::Result<V, E>> + Send,
        E: From<LockError> + Send,
    {
        let found = self.values.lock().ok().and_then(|values| values.get(&key).cloned());
        if let Some(value) = found {
            return Ok(value);
        }
        let value = load(key.clone()).await?;
        if let Ok(mut values) = self.values.lock() {
            values.insert(key, value.clone());
        }
        Ok(value)
    }
}

/// A borrowed view.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The borrowed text.
    pub name: &'a str,
}

impl<'a> View<'a> {
    /// Returns one of the two borrowed texts.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "view:{self.name}", locks = locks)]
    pub async fn longest<'b>(self, locks: &LockManager, other: &'b str) -> Result<&'a str>
    where
        'b: 'a,
    {
        tokio::task::yield_now().await;
        Ok(if other.len() > self.name.len() { other } else { self.name })
    }
}

/// A trait with native async functions.
pub trait Payments {
    /// Charges an order.
    fn charge(&self, order: u64) -> impl Future<Output = Result<u64>> + Send;

    /// Returns the locks of the service.
    fn locks(&self) -> &LockManager;

    /// Charges an order. This is a default body.
    fn charge_once(&self, order: u64) -> impl Future<Output = Result<u64>> + Send
    where
        Self: Sync,
    {
        self.charge(order)
    }
}

/// An implementation of [`Payments`].
#[derive(Debug)]
pub struct Till {
    /// The locks of the till.
    pub locks: LockManager,
}

impl Payments for Till {
    #[distributed_lock(key = "charge:{order}", locks = self.locks)]
    async fn charge(&self, order: u64) -> Result<u64> {
        tokio::task::yield_now().await;
        Ok(order)
    }

    fn locks(&self) -> &LockManager {
        &self.locks
    }
}

/// A handler that is stored as a value.
pub type Handler = Box<dyn Fn(u64) -> Pin<Box<dyn Future<Output = Result<u64>> + Send>> + Send + Sync>;

/// Returns a handler whose calls are locked.
#[must_use]
pub fn handler(locks: LockManager) -> Handler {
    #[distributed_lock(key = "handler:{id}", locks = locks)]
    async fn locked(locks: LockManager, id: u64) -> Result<u64> {
        tokio::task::yield_now().await;
        Ok(id)
    }
    Box::new(move |id| Box::pin(locked(locks.clone(), id)))
}

/// Spawns a call, so that its future must be `Send` and `'static`.
///
/// # Errors
/// The lock is not acquired, or it is lost.
pub async fn spawned(locks: LockManager) -> Result<u64> {
    let till = Arc::new(Till { locks });
    tokio::spawn(async move { till.charge(7).await }).await.map_err(|_| ServiceError::Sold)?
}
