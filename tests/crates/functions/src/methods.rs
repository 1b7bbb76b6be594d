//! Locked methods with receivers, traits and generics that `services` does not have.

use std::{
    borrow::Cow,
    fmt::{self, Debug, Display, Formatter},
    pin::Pin,
    rc::Rc,
    sync::Arc,
};

use async_trait::async_trait;
use distlock::{LockError, LockManager, distributed_lock};

type Answer<T = ()> = Result<T, LockError>;

/// A version, with its own text as key.
#[derive(Debug, Clone)]
pub struct Version {
    /// The number before the dot.
    pub major: u32,
    /// The number after the dot.
    pub minor: u32,
}

impl Display for Version {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Has `self` itself in the key.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "{self}")]
    pub async fn shown(&self) -> Answer<u32> {
        tokio::task::yield_now().await;
        Ok(self.minor)
    }

    /// Takes `self` by value, changes it and returns it.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "version:{self.major}")]
    pub async fn next(mut self) -> Answer<Self> {
        tokio::task::yield_now().await;
        self.major += 1;
        Ok(self)
    }

    /// Returns `self` for the next call.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "version:{self.major}")]
    pub async fn bump(&mut self, by: impl Into<u32> + Send) -> Answer<&mut Self> {
        tokio::task::yield_now().await;
        self.minor += by.into();
        Ok(self)
    }

    /// Takes `self` as a borrowed `Arc`.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "version:{self.major}")]
    pub async fn owners(self: &Arc<Self>) -> Answer<usize> {
        tokio::task::yield_now().await;
        Ok(Arc::strong_count(self))
    }

    /// Spawns a task that keeps `self`.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "version:{self.major}")]
    pub async fn spawns(self: Arc<Self>) -> Answer<u32> {
        let this = Self::clone(&self);
        let minor = tokio::spawn(async move { this.minor }).await;
        Ok(minor.unwrap_or(self.minor))
    }

    /// Takes `self` as an `Rc`.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[allow(clippy::future_not_send, reason = "this method shows that `self` need not be `Send`")]
    #[distributed_lock(key = "version:{self.major}")]
    pub async fn not_send(self: Rc<Self>) -> Answer<u32> {
        tokio::task::yield_now().await;
        Ok(self.minor)
    }

    /// Takes `self` as a box, and changes it.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "version:{self.major}")]
    pub async fn boxed(mut self: Box<Self>) -> Answer<u32> {
        tokio::task::yield_now().await;
        self.minor *= 2;
        Ok(self.minor)
    }

    /// Takes `self` pinned, and changes it.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "version:{self.major}")]
    pub async fn pinned(mut self: Pin<&mut Self>) -> Answer<u32> {
        tokio::task::yield_now().await;
        self.as_mut().minor += 1;
        Ok(self.minor)
    }

    /// Takes `self` as a pinned `Arc`.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "version:{self.major}")]
    pub async fn pinned_arc(self: Pin<Arc<Self>>) -> Answer<u32> {
        tokio::task::yield_now().await;
        Ok(self.minor)
    }

    /// Takes an argument of its own type apart.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "{major}->{minor}")]
    pub async fn apart(Self { major, minor }: Self) -> Answer<u32> {
        tokio::task::yield_now().await;
        Ok(major + minor)
    }

    /// Calls another locked method while it holds its own lock.
    ///
    /// # Errors
    /// A lock is not acquired, or it is lost.
    #[distributed_lock(key = "version:{self.major}:twice")]
    pub async fn bump_twice(&mut self) -> Answer<u32> {
        self.bump(1_u32).await?.bump(1_u32).await?;
        let Self { minor, ref major } = *self;
        Ok(minor + major)
    }
}

/// Something that is stored under a name.
pub trait Named {
    /// The kind of thing.
    const KIND: &'static str;

    /// Returns the name.
    fn name(&self) -> Cow<'_, str>;
}

impl Named for Version {
    const KIND: &'static str = "version";

    fn name(&self) -> Cow<'_, str> {
        self.to_string().into()
    }
}

/// Has a constant of a generic type in its key.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "{T::KIND}/{item.name()}")]
pub async fn named<T: Named + Sync>(item: &T) -> Answer<String> {
    tokio::task::yield_now().await;
    Ok(item.name().into_owned())
}

/// Has two const generics in its key.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "shard:{SHARD:03}/{N}")]
pub async fn sharded<const SHARD: u32, const N: usize, T: Send + Debug>(items: [T; N]) -> Answer<usize> {
    tokio::task::yield_now().await;
    Ok(items.len())
}

/// Has a key argument that may be unsized, and a value that only the caller names.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "default:{key}")]
pub async fn default_of<K: Display + Sync + ?Sized, V: Default>(key: &K) -> Answer<V> {
    tokio::task::yield_now().await;
    Ok(V::default())
}

/// Returns whichever error the caller wants.
///
/// # Errors
/// The text is not a number, or the lock is not acquired or is lost.
#[distributed_lock(key = "parsed:{text}")]
pub async fn parsed<E>(text: &str) -> Result<u64, E>
where
    E: From<LockError> + From<std::num::ParseIntError>,
{
    tokio::task::yield_now().await;
    Ok(text.parse::<u64>()?)
}

/// A repository with associated types, whose default method is locked.
#[allow(async_fn_in_trait, reason = "this trait shows native async functions")]
pub trait Repository {
    /// What identifies an entity.
    type Id: Display + Clone;
    /// What is stored.
    type Entity;
    /// The repository's error.
    type Error: From<LockError>;
    /// What a query returns.
    type Row<'a>
    where
        Self: 'a;
    /// The name of the table.
    const TABLE: &'static str;

    /// Returns the locks.
    fn locks(&self) -> &LockManager;

    /// Reads an entity.
    async fn load(&self, id: &Self::Id) -> Result<Option<Self::Entity>, Self::Error>;

    /// Writes an entity.
    async fn store(&mut self, id: Self::Id, entity: Self::Entity) -> Result<(), Self::Error>;

    /// Returns a row that borrows from the repository.
    async fn row(&self, id: Self::Id) -> Result<Self::Row<'_>, Self::Error>;

    /// Changes an entity under its lock. Returns whether there was one.
    #[distributed_lock(key = "{Self::TABLE}:{id}", ttl = "3s", locks = self.locks())]
    async fn update<F>(&mut self, id: Self::Id, change: F) -> Result<bool, Self::Error>
    where
        F: FnOnce(&mut Self::Entity),
    {
        let Some(mut entity) = self.load(&id).await? else { return Ok(false) };
        change(&mut entity);
        self.store(id, entity).await?;
        Ok(true)
    }
}

/// Users in memory.
#[derive(Debug)]
pub struct Users {
    /// The locks of the repository.
    pub locks: LockManager,
    /// The names.
    pub names: Vec<String>,
}

impl Repository for Users {
    type Id = usize;
    type Entity = String;
    type Error = anyhow::Error;
    type Row<'a> = (usize, &'a str);

    const TABLE: &'static str = "user";

    fn locks(&self) -> &LockManager {
        &self.locks
    }

    async fn load(&self, id: &usize) -> anyhow::Result<Option<String>> {
        Ok(self.names.get(*id).cloned())
    }

    async fn store(&mut self, id: usize, entity: String) -> anyhow::Result<()> {
        self.names[id] = entity;
        Ok(())
    }

    #[distributed_lock(key = "row:{id}", locks = self.locks)]
    async fn row(&self, id: usize) -> anyhow::Result<Self::Row<'_>> {
        tokio::task::yield_now().await;
        Ok((id, self.names.get(id).map_or("", |name| name)))
    }
}

/// A job with a name.
#[allow(async_fn_in_trait, reason = "this trait shows native async functions")]
pub trait Job {
    /// Returns the name, which is the key.
    fn name(&self) -> String;

    /// Does the job.
    async fn work(&mut self) -> anyhow::Result<u32>;
}

/// Adds a locked method to every job, whether it is sized or not.
#[allow(async_fn_in_trait, reason = "this trait shows native async functions")]
pub trait JobExt: Job {
    /// Runs the job unless another replica runs it.
    #[distributed_lock(key = "job:{self.name()}", on_busy = skip)]
    async fn run_once(&mut self) -> anyhow::Result<Option<u32>> {
        self.work().await.map(Some)
    }
}

impl<J: Job + ?Sized> JobExt for J {}

/// A job that counts its runs.
#[derive(Debug, Default)]
pub struct Count(u32);

impl Job for Count {
    fn name(&self) -> String {
        "count".into()
    }

    async fn work(&mut self) -> anyhow::Result<u32> {
        tokio::task::yield_now().await;
        self.0 += 1;
        Ok(self.0)
    }
}

/// A trait of `async_trait` whose generic argument is in the key of the default body.
#[async_trait]
pub trait Reader<K: Display + Clone + Send + Sync + 'static>: Send + Sync {
    /// Reads once.
    async fn read(&self, key: K) -> Answer<String>;

    /// Reads twice under one lock.
    #[distributed_lock(key = "read:{key}")]
    async fn read_twice(&self, key: K) -> Answer<String> {
        Ok(self.read(key.clone()).await? + &self.read(key).await?)
    }
}

#[async_trait]
impl<K> Reader<K> for Version
where
    K: Display + Clone + Send + Sync + 'static,
{
    async fn read(&self, key: K) -> Answer<String> {
        Ok(format!("{key}@{self}"))
    }
}
