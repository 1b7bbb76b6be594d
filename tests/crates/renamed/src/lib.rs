//! `distlock` is no name here.
#![deny(warnings, clippy::pedantic, clippy::nursery)]

/// By the name that the manifest gives it.
///
/// # Errors
/// The lock's.
#[mutexes::distributed_lock(crate = mutexes, key = "renamed:{id}", locks = locks)]
pub async fn renamed(locks: &mutexes::LockManager, id: u8) -> Result<u8, mutexes::LockError> {
    std::future::ready(Ok(id)).await
}

/// By another crate's re-export.
///
/// # Errors
/// The lock's.
#[platform::locks::distributed_lock(crate = ::platform::locks, key = "platform:{id}", locks = locks)]
pub async fn re_exported(
    locks: &platform::locks::LockManager,
    id: u8,
) -> Result<u8, platform::locks::LockError> {
    std::future::ready(Ok(id)).await
}
