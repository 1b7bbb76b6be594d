//! Settings and handlers in forms that the other functions do not have.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    sync::{Arc, LazyLock, Mutex, OnceLock},
    time::Duration,
};

use distlock::{LockError, LockManager, distributed_lock};
use tokio::time::Instant;

type Answer<T = ()> = Result<T, LockError>;

/// A key with a type of its own.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// The key of an order.
    Order(u64),
    /// The key of an article.
    Sku(&'a str),
}

impl Display for Key<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(id) => write!(f, "order:{id}"),
            Self::Sku(sku) => write!(f, "sku:{sku}"),
        }
    }
}

/// The key borrows an argument that the body uses up.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = Key::Sku(&sku))]
pub async fn by_type(sku: String) -> Answer<String> {
    tokio::task::yield_now().await;
    Ok(sku + "!")
}

/// The key and the ttl are expressions with branches.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(
    key = match id { 0 => "none".to_owned(), id if id < 10 => Key::Order(id).to_string(), _ => "large".into() },
    ttl = if id == 0 { Duration::from_secs(1) } else { LEASE * 2 },
    guard = lock,
)]
pub async fn by_branch(id: u64) -> Answer<bool> {
    tokio::task::yield_now().await;
    Ok(lock.remaining() > Duration::from_secs(1))
}

const LEASE: Duration = Duration::from_secs(5);

/// The key is a block with statements.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = { let day = at / 86_400; format_args!("day:{day}").to_string() })]
pub async fn by_block(at: u64) -> Answer<u64> {
    tokio::task::yield_now().await;
    Ok(at)
}

/// The key does not depend on the order of the arguments.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = format!("pair:{}:{}", from.min(to), from.max(to)))]
pub async fn pair(from: u64, to: u64) -> Answer<(u64, u64)> {
    tokio::task::yield_now().await;
    Ok((from, to))
}

tokio::task_local! {
    /// The tenant of the task.
    pub static TENANT: String;
}

/// The key comes from the task.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = TENANT.with(|tenant| format!("tenant:{tenant}")))]
pub async fn by_task_local() -> Answer<String> {
    tokio::task::yield_now().await;
    Ok(TENANT.get())
}

static NAME: LazyLock<String> = LazyLock::new(|| "lazy".into());

/// The key is a static that is made at its first use.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = *NAME)]
pub async fn by_static() -> Answer<usize> {
    tokio::task::yield_now().await;
    Ok(NAME.len())
}

/// The time to wait ends at a deadline.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "until", wait = deadline.saturating_duration_since(Instant::now()))]
pub async fn until(deadline: Instant) -> Answer<Duration> {
    Ok(deadline - Instant::now())
}

static LOCKS: OnceLock<LockManager> = OnceLock::new();

/// The manager is a static.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "static-manager", locks = LOCKS.get_or_init(LockManager::in_memory))]
pub async fn static_manager() -> Answer {
    tokio::task::yield_now().await;
    Ok(())
}

/// The manager is one of several, or another one.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "region:{region}", locks = managers.get(region).unwrap_or(fallback))]
pub async fn regional(
    managers: &BTreeMap<&str, LockManager>,
    fallback: &LockManager,
    region: &str,
) -> Answer<usize> {
    tokio::task::yield_now().await;
    Ok(managers.len())
}

/// The manager is behind references and an `Arc`, and the body uses it up.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "arc", locks = locks)]
pub async fn arc(locks: &&Arc<LockManager>, dropped: Arc<LockManager>) -> Answer<usize> {
    tokio::task::yield_now().await;
    drop(dropped);
    Ok(Arc::strong_count(locks))
}

/// An outcome that is no `Result`.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The body ran.
    Done(u64),
    /// The key was busy.
    Busy(String),
    /// Another error of the lock.
    Failed,
}

impl Outcome {
    #[allow(clippy::needless_pass_by_value, reason = "a handler takes the error by value")]
    fn busy(error: LockError) -> Self {
        Self::Busy(error.key().to_owned())
    }
}

/// The handlers are an associated function and a closure.
#[distributed_lock(key = "outcome:{id}", on_busy = Outcome::busy, on_error = |_| Outcome::Failed)]
pub async fn outcome(id: u64) -> Outcome {
    tokio::task::yield_now().await;
    Outcome::Done(id)
}

/// The handler gives an argument back that the body would use up.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "give-back:{items.len()}", on_busy = |_| Ok(Some(items)))]
pub async fn gives_back(items: Vec<u64>) -> Answer<Option<Vec<u64>>> {
    tokio::task::yield_now().await;
    drop(items);
    Ok(None)
}

/// The handler returns early from itself, and names its types.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "early:{id}", on_busy = |busy: LockError| -> Answer<u64> {
    if id == 1 {
        return Err(busy);
    }
    Ok(0)
})]
pub async fn early(id: u64) -> Answer<u64> {
    tokio::task::yield_now().await;
    Ok(id)
}

/// The handler is a block that clones what the body uses up.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "cloned:{id}", on_error = { let id = id.clone(); move |error| Err(format!("{id}: {error}")) })]
pub async fn cloned(id: String) -> Result<String, String> {
    tokio::task::yield_now().await;
    Ok(id)
}

/// A service that counts its busy calls.
#[derive(Debug, Default)]
pub struct Service {
    /// How many calls were refused.
    pub refused: Mutex<u32>,
}

impl Service {
    /// The handler is a method.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "method:{id}", on_busy = |error| self.refuse(error))]
    pub async fn counted(&self, id: u64) -> Answer<u64> {
        tokio::task::yield_now().await;
        Ok(id)
    }

    fn refuse(&self, _: LockError) -> Answer<u64> {
        self.refused.lock().map_or(Ok(0), |mut refused| {
            *refused += 1;
            drop(refused);
            Ok(0)
        })
    }

    /// The handler is a generic associated function, and the body changes `self`.
    ///
    /// # Errors
    /// The lock is not acquired, or it is lost.
    #[distributed_lock(key = "context:{id}", on_busy = Self::with_context)]
    pub async fn with_method(&mut self, id: u32) -> anyhow::Result<u32> {
        tokio::task::yield_now().await;
        self.refused = Mutex::new(id);
        Ok(id)
    }

    fn with_context<T>(error: LockError) -> anyhow::Result<T> {
        Err(anyhow::Error::from(error).context("refused"))
    }
}

/// The lock's guard goes to a helper, which borrows it.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "helped:{text}", guard = r#final)]
pub async fn helped(text: String) -> Answer<(String, usize)> {
    async fn helper<'g>(guard: &'g distlock::LockGuard, text: &str) -> (&'g str, usize) {
        tokio::task::yield_now().await;
        (guard.key(), text.len())
    }
    let (key, length) = helper(r#final, &text).await;
    Ok((key.to_owned(), length))
}

/// Renews by hand.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[distributed_lock(key = "by-hand", ttl = "300ms", renew = false, guard = lock)]
pub async fn renews_by_hand() -> Answer<bool> {
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        lock.renew().await?;
    }
    Ok(lock.is_held())
}
