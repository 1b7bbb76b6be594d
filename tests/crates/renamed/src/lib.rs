//! Locked functions in a crate that does not know `distlock` by that name.
#![deny(warnings, clippy::pedantic, clippy::nursery)]

/// Uses distlock by the name that the manifest gives it.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[mutexes::distributed_lock(crate = mutexes, key = "renamed:{id}", locks = locks)]
pub async fn renamed(locks: &mutexes::LockManager, id: u8) -> Result<u8, mutexes::LockError> {
    std::future::ready(Ok(id)).await
}

/// Uses distlock through another crate's re-export.
///
/// # Errors
/// The lock is not acquired, or it is lost.
#[platform::locks::distributed_lock(crate = ::platform::locks, key = "platform:{id}", locks = locks)]
pub async fn re_exported(
    locks: &platform::locks::LockManager,
    id: u8,
) -> Result<u8, platform::locks::LockError> {
    std::future::ready(Ok(id)).await
}
