//! Functions with the error types of several libraries.

use distlock::{LockError, distributed_lock};

/// # Errors
/// The lock is not acquired or is lost, or the body fails.
#[distributed_lock(key = "anyhow:{id}")]
pub async fn with_anyhow(id: &str) -> anyhow::Result<u32> {
    use anyhow::Context;
    tokio::task::yield_now().await;
    id.parse().with_context(|| format!("`{id}` is not a number"))
}

/// # Errors
/// The lock is not acquired or is lost, or the body fails.
#[distributed_lock(key = "eyre:{id}")]
pub async fn with_eyre(id: &str) -> eyre::Result<u32> {
    use eyre::WrapErr;
    tokio::task::yield_now().await;
    id.parse().wrap_err("not a number")
}

/// # Errors
/// The lock is not acquired or is lost, or the body fails.
#[distributed_lock(key = "box:{id}")]
pub async fn with_a_box(id: &str) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
    tokio::task::yield_now().await;
    Ok(id.parse()?)
}

/// # Errors
/// The lock is not acquired or is lost, or the body fails.
#[distributed_lock(key = "io:{path}")]
pub async fn with_io(path: &str) -> std::io::Result<Vec<u8>> {
    tokio::task::yield_now().await;
    std::fs::read(path)
}

/// # Errors
/// The error is text.
#[distributed_lock(key = "text", on_error = |error: LockError| Err(error.to_string()))]
pub async fn with_text() -> Result<(), String> {
    tokio::task::yield_now().await;
    Ok(())
}

/// The result of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The body has run.
    Done,
    /// Another holder has the key.
    Elsewhere,
    /// The call failed.
    Failed(String),
}

fn elsewhere(_: LockError) -> Outcome {
    Outcome::Elsewhere
}

/// A return type that is not a `Result`.
#[distributed_lock(
    key = "outcome",
    on_busy = elsewhere,
    on_error = |error| Outcome::Failed(error.to_string()),
)]
pub async fn with_an_outcome() -> Outcome {
    tokio::task::yield_now().await;
    Outcome::Done
}

/// The handler may move the arguments.
#[distributed_lock(key = "uses:{name}", on_busy = |_| name, on_error = |error| error.to_string())]
pub async fn with_the_argument(name: String) -> String {
    tokio::task::yield_now().await;
    format!("locked {name}")
}
