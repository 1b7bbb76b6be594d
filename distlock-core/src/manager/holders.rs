//! Who holds a key, which keys are held, and how a lock is broken.

use std::{fmt, vec};

use super::handle::LockManager;
use crate::{
    error::LockError,
    holder::Holder,
    store::{HolderPages, retry::send_again_once},
};

impl LockManager {
    /// Answers who holds a key; `None` if the key is free.
    ///
    /// On a quorum it is the holder of a majority of the nodes. Without one, and with so many nodes taken
    /// that nobody can acquire the key, the holder is [divided](crate::HolderKind::Divided).
    ///
    /// # Errors
    /// - [`LockError::InvalidKey`] for a key that no lock can have.
    /// - [`LockError::Store`] if the server, or a majority of a quorum, does not answer.
    ///
    /// # Cancel safety
    /// Nothing is left behind.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::builder().url("memory://").owner("pod-7").build()?;
    /// let guard = manager.lock("order:42").acquire().await?;
    /// let holder = manager.inspect("order:42").await?.expect("it is held");
    /// assert_eq!(holder.label.as_deref(), Some("pod-7"));
    /// assert!(holder.remaining.is_some_and(|remaining| remaining.as_secs() >= 29));
    /// guard.release().await?;
    /// assert!(manager.inspect("order:42").await?.is_none());
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub async fn inspect(&self, key: impl AsRef<str>) -> Result<Option<Holder>, LockError> {
        let key = self.key(key.as_ref())?;
        let store = &self.shared().store;
        let (answer, _) = send_again_once(|| store.inspect(&key)).await;
        answer.map_err(|error| error.for_key(key.name()))
    }

    /// Lists the holders of all keys of this manager's namespace that begin with `prefix`, in no order. An
    /// empty prefix lists all.
    ///
    /// A key that is held all the while is listed at least once. One that is acquired or released meanwhile
    /// may be missing. The list is read page by page, so that a million keys neither hold up the server
    /// (`SCAN`) nor fill this process's memory. Each page reads a part of all keys of the server's database,
    /// held or not. With an empty namespace, keys that another library or the application has set are not
    /// listed.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let _guard = manager.lock("order:42").acquire().await?;
    /// let mut holders = manager.list("order:");
    /// while let Some(holder) = holders.next().await {
    ///     let holder = holder?;
    ///     println!("{} is held by {}", holder.key, holder.label.as_deref().unwrap_or("another library"));
    /// }
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub fn list(&self, prefix: impl AsRef<str>) -> HolderStream {
        let pages = self.shared().store.list(self.namespace(), prefix.as_ref());
        HolderStream { pages, page: Vec::new().into_iter(), has_ended: false }
    }

    /// Ends the lease of a holder that was seen before: the first waiter gets the key. Answers false, and
    /// changes nothing, if that holder does not hold the key any more, even if the same process has acquired
    /// it again.
    ///
    /// The holder is lost as [`NotOwner`](crate::LostReason::NotOwner) at its next renewal, after a third of
    /// its ttl. Until then it may run on beside its successor, and [fencing tokens](crate::FencingToken) tell
    /// the two apart. With `renew = false` it is not told. On a quorum a majority of the nodes has to answer.
    ///
    /// The command is sent again if its connection breaks. False may then mean that the first sending has
    /// ended the lease. It also answers false for a holder without an [id](Holder::id), which is divided or
    /// not known.
    ///
    /// # Errors
    /// [`LockError::Store`] if the server, or a majority of a quorum, does not answer: whether the lock was
    /// broken is not known then.
    ///
    /// # Cancel safety
    /// If the future is dropped, the lock may be broken or not.
    ///
    /// # Examples
    /// ```
    /// # extern crate distlock_core as distlock;
    /// # async fn example() -> Result<(), distlock::LockError> {
    /// let manager = distlock::LockManager::in_memory();
    /// let _hangs = manager.lock("order:42").acquire().await?;
    /// if let Some(holder) = manager.inspect("order:42").await? {
    ///     assert!(manager.break_lock(&holder).await?);
    ///     let _successor = manager.lock("order:42").acquire().await?;
    ///     assert!(!manager.break_lock(&holder).await?); // not the one that was seen
    /// }
    /// # Ok(()) }
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    /// # runtime.block_on(example()).unwrap();
    /// ```
    pub async fn break_lock(&self, holder: &Holder) -> Result<bool, LockError> {
        let (key, Some(id)) = (self.key(&holder.key)?, holder.id()) else { return Ok(false) };
        let store = &self.shared().store;
        let (answer, _) = send_again_once(|| store.break_lock(&key, id)).await;
        let is_broken = answer.map_err(|error| error.for_key(key.name()))?;
        if is_broken {
            tracing::warn!(
                key = key.name(),
                holder = holder.label,
                "lock broken: its holder is not told yet"
            );
        }
        Ok(is_broken)
    }
}

/// The holders of many keys: see [`LockManager::list`]. It does nothing unless it is asked for the next one.
#[must_use = "it lists nothing unless `next` is called"]
pub struct HolderStream {
    pages: HolderPages,
    /// The rest of the page that was read last.
    page: vec::IntoIter<Holder>,
    /// The last page, or an error, was read.
    has_ended: bool,
}

impl HolderStream {
    /// The next holder; `None` after the last one. An error is the last item.
    ///
    /// # Errors
    /// [`LockError::Store`] without a key if the server does not answer, or refuses.
    ///
    /// # Cancel safety
    /// Nothing is left behind, and the next call goes on.
    pub async fn next(&mut self) -> Option<Result<Holder, LockError>> {
        loop {
            if let Some(holder) = self.page.next() {
                return Some(Ok(holder));
            }
            if self.has_ended {
                return None;
            }
            match self.pages.next_page().await {
                Ok(Some(page)) => self.page = page.into_iter(),
                Ok(None) => self.has_ended = true,
                Err(error) => {
                    self.has_ended = true;
                    return Some(Err(error.for_key("")));
                }
            }
        }
    }
}

impl fmt::Debug for HolderStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HolderStream(..)")
    }
}
